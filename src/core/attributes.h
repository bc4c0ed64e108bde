/* SPDX-License-Identifier: Apache-2.0 */
/* The rules of attributes: what a client may set, change, delete and see (def/attributes.def). */
#ifndef KMIPD_CORE_ATTRIBUTES_H
#define KMIPD_CORE_ATTRIBUTES_H

#include "core/request.h"

#define ATTRIBUTE_INSTANCES_MAX 256  /* of one name on one object */
#define ATTRIBUTE_NAMES_MAX     1024 /* instances of all names on one object */
#define ATTRIBUTE_VALUE_MAX     (64u * 1024)

/* True for names that clients make up: x-..., and for the server's own, y-... (KMIP 1.4 §3.39). */
bool attribute_is_custom(struct bytes name);

/*
 * Adds the attributes of a template to a new object. What a client may not set on this type of
 * object: INVALID_FIELD; values of the wrong type or out of range: INVALID_FIELD; too many
 * instances: INDEX_OUT_OF_BOUNDS; a Template object named: OBJECT_NOT_FOUND.
 */
enum status
attributes_from_template(struct request *request, struct object *object,
                         const struct kmip_template_attribute *template_attribute) MUST_USE;

/* Add Attribute. *ret_attribute is the new instance, valid until the next change of the object. */
enum status attributes_add(struct request *request, struct object *object,
                           const struct kmip_named_attribute *named,
                           struct attribute **ret_attribute) MUST_USE;

/* Modify Attribute. */
enum status attributes_modify(struct request *request, struct object *object,
                              const struct kmip_named_attribute *named,
                              struct attribute **ret_attribute) MUST_USE;

/* Delete Attribute. *ret_attribute is a copy of what was deleted. */
enum status attributes_delete(struct request *request, struct object *object, struct bytes name,
                              int32_t index, struct attribute *ret_attribute) MUST_USE;

/*
 * INVALID_FIELD if the Process Start Date precedes the Activation Date, or the Protect Stop Date
 * is later than the Deactivation Date (KMIP 1.4 §3.25, §3.26).
 */
enum status attributes_check_dates(const struct object *object) MUST_USE;

/* True for attributes that every object to which they apply has, stored or not. */
bool attribute_is_derived(enum kmip_attribute id);

/*
 * All attributes that the object shows in the request's version, stored and derived, in the order
 * of def/attributes.def, custom ones last: an array of struct kmip_named_attribute in the arena.
 */
enum status attributes_view(struct request *request, const struct object *object,
                            struct kmip_list *ret_view) MUST_USE;

/* The form in which an instance goes to a client. */
struct kmip_named_attribute attribute_named(const struct attribute *attribute);

/*
 * The terms by which Locate finds the object (see store.h); in the arena. attribute_term() gives
 * the term of one attribute; NOT_FOUND if it is not one that is indexed, or not complete.
 */
enum status attributes_terms(struct request *request, const struct object *object,
                             const struct store_term **ret_terms, size_t *ret_count) MUST_USE;
enum status attribute_term(struct arena *arena, struct bytes name, const struct kmip_any *value,
                           struct store_term *ret_term) MUST_USE;

/*
 * NAME_EXISTS if another live object of the adapter has one of the object's Names (KMIP 1.4 §3.2).
 * `former`: an object of the same batch item that gives up its own, or NULL.
 */
enum status attributes_check_names(struct request *request, const struct object *object,
                                   const struct object *former) MUST_USE;

#endif
