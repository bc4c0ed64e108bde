/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables, as numbered migrations: a released one is never changed, a change is a new one at
 * the end. PRAGMA user_version tells how many a file has had.
 *
 * Few indexes, and of those that every object needs each ascends: id (UUID version 7, so its
 * index is appended to) and class (ends in the sequence). Only terms and names come in random
 * order, and the keys that vCenter makes have none at first. The index of the id has the adapter
 * in it, so that another adapter's object takes the way of one that is not there; that an id is
 * there once in all adapters is seen to by the one statement that inserts.
 *
 * object.terms and object.names repeat, as sorted 64-bit integers, the object's rows in
 * object_term and object_name: so that an update knows what to replace without an index by object.
 * object_name holds the unique terms of objects that are not destroyed; its key is the constraint.
 * object_class counts the objects of each class: a count by walking would take seconds at ten
 * million, and Locate must know in which classes to look.
 *
 * record.sequence is its object's, and record.due tells that the object has another version by now
 * or is destroyed: so that what is due is found in the two indexes by sequence side by side,
 * without the rows. The key manager of adapters from before there was a choice is the sealed file.
 */
#include "store/sqlite.h"

const char *const sqlite_migrations[] = {
    "CREATE TABLE adapter ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " uuid BLOB NOT NULL UNIQUE CHECK (length(uuid) = 16),"
    " name TEXT NOT NULL UNIQUE,"
    " description TEXT NOT NULL,"
    " root_key BLOB NOT NULL CHECK (length(root_key) = 16),"
    " created INTEGER NOT NULL,"
    " username TEXT NOT NULL,"
    " password_hash TEXT NOT NULL"
    ") STRICT;"
    "CREATE TABLE certificate ("
    " id BLOB PRIMARY KEY CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id),"
    " name TEXT NOT NULL,"
    " fingerprint BLOB NOT NULL UNIQUE CHECK (length(fingerprint) = 32),"
    " der BLOB NOT NULL,"
    " created INTEGER NOT NULL,"
    " UNIQUE (adapter, name)"
    ") STRICT;"
    "CREATE TABLE object ("
    " sequence INTEGER PRIMARY KEY,"
    " id BLOB NOT NULL CHECK (length(id) = 16),"
    " adapter INTEGER NOT NULL REFERENCES adapter (id),"
    " version INTEGER NOT NULL,"
    " object_type INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " attributes BLOB NOT NULL,"
    " wrapped BLOB NOT NULL,"
    " terms BLOB NOT NULL,"
    " names BLOB NOT NULL,"
    " UNIQUE (id, adapter)"
    ") STRICT;"
    "CREATE INDEX object_by_class ON object (adapter, object_type, state);"
    "CREATE TABLE object_class ("
    " adapter INTEGER NOT NULL,"
    " object_type INTEGER NOT NULL,"
    " state INTEGER NOT NULL,"
    " count INTEGER NOT NULL,"
    " PRIMARY KEY (adapter, object_type, state)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_term ("
    " adapter INTEGER NOT NULL,"
    " term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL,"
    " PRIMARY KEY (adapter, term, sequence)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE object_name ("
    " adapter INTEGER NOT NULL,"
    " term INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL,"
    " PRIMARY KEY (adapter, term)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE TABLE value ("
    " name TEXT PRIMARY KEY,"
    " value BLOB NOT NULL"
    ") STRICT, WITHOUT ROWID;",

    "ALTER TABLE adapter ADD COLUMN key_manager INTEGER NOT NULL DEFAULT 1"
    " CHECK (key_manager > 0);"
    "CREATE TABLE record ("
    " object BLOB PRIMARY KEY CHECK (length(object) = 16),"
    " adapter INTEGER NOT NULL,"
    " sequence INTEGER NOT NULL,"
    " key_manager INTEGER NOT NULL,"
    " record BLOB NOT NULL CHECK (length(record) = 16),"
    " version INTEGER NOT NULL,"
    " withdrawn INTEGER NOT NULL,"
    " due INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;"
    "CREATE UNIQUE INDEX record_by_sequence ON record (adapter, sequence, due);"
    "CREATE TABLE record_left ("
    " key_manager INTEGER NOT NULL,"
    " record BLOB NOT NULL CHECK (length(record) = 16),"
    " PRIMARY KEY (key_manager, record)"
    ") STRICT, WITHOUT ROWID;",

    "ALTER TABLE adapter ADD COLUMN created_by TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE adapter ADD COLUMN updated INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE adapter ADD COLUMN updated_by TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE certificate ADD COLUMN created_by TEXT NOT NULL DEFAULT '';",
};

const int sqlite_schema_version = ARRAY_COUNT(sqlite_migrations);
