# SPDX-License-Identifier: Apache-2.0
"""Adapters on the wire: which certificate opens which tenant, and that no tenant sees another."""

import uuid

import pytest

from tests.support.certificates import let_in, self_signed
from tests.support.message import Result, ask, attribute, batch_item, create, do, field, name_value
from tests.support.ttlv import Type

UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def connect(server, certificate):
    return server.connect(server.context(certificate.certificate, certificate.key))


def refused(client, **options) -> None:
    for result in ask(client, batch_item("DiscoverVersions"), **options).items:
        result.failed("AuthenticationNotSuccessful")


@pytest.fixture
def stranger(kmipd, tenant):
    """A connection of a client of another adapter than everybody's."""
    with kmipd.connect(tenant) as client:
        yield client


# Certificates


KINDS = {
    "elliptic": {},
    "rsa": {"kind": "rsa"},
    "no client usage": {"extensions": ("extendedKeyUsage=serverAuth",)},
    "a CA": {"extensions": ("keyUsage=critical,keyCertSign",)},
}


@pytest.mark.parametrize("kind", KINDS)
def test_certificate_works_at_once(kmipd, tmp_path, kind):
    """Pinned by its leaf, whatever it says of itself (kmip-clients §2): in from the moment it is
    added, without a restart, and out from the moment it is deleted, on open connections too."""
    certificate = self_signed(tmp_path, unique("vcenter"), **KINDS[kind])
    with connect(kmipd, certificate) as client:
        refused(client)
    with let_in(kmipd, certificate):
        open_connection = connect(kmipd, certificate)
        ask(open_connection, create()).only().succeeded()
    with open_connection:
        refused(open_connection)
    with connect(kmipd, certificate) as client:
        refused(client)


def test_certificate_of_the_same_name_is_another(kmipd, tmp_path):
    """Same subject, other key: nothing but the fingerprint counts."""
    name = unique("vcenter")
    (tmp_path / "other").mkdir()
    other = self_signed(tmp_path / "other", name)
    with let_in(kmipd, self_signed(tmp_path, name)):
        with connect(kmipd, other) as client:
            refused(client)


def test_certificate_belongs_to_one_adapter(kmipd, adapter, tmp_path):
    certificate = self_signed(tmp_path, unique("vcenter"))
    with let_in(kmipd, certificate):
        again = kmipd.ctl(
            "cert", "add", certificate.certificate, "--adapter", adapter, check=False
        )
        assert again.returncode == 1
        assert again.stderr.strip()


def test_issued_certificate(kmipd, tmp_path):
    """kmipctl makes key and certificate; both work as they are."""
    name = unique("issued")
    kmipd.ctl("cert", "issue", name, "--out", tmp_path)
    key = tmp_path / f"{name}.key"
    assert key.stat().st_mode & 0o077 == 0
    with kmipd.connect(kmipd.context(tmp_path / f"{name}.pem", key)) as client:
        ask(client, create()).only().succeeded()


def test_every_client_of_an_adapter_uses_all_its_objects(kmipd, tmp_path):
    with kmipd.connect() as client:
        made = ask(client, create()).only().succeeded().id
    with let_in(kmipd, self_signed(tmp_path, unique("second"))) as certificate:
        with connect(kmipd, certificate) as client:
            do(client, "Get", ("UniqueIdentifier", made)).succeeded()
            do(client, "Activate", ("UniqueIdentifier", made)).succeeded()
    with kmipd.connect() as client:
        result = do(client, "GetAttributes", ("UniqueIdentifier", made), ("AttributeName", "State"))
        assert result.attributes == [("State", 2)]


# Isolation


OPERATIONS = {
    "Get": (),
    "GetAttributes": (),
    "GetAttributeList": (),
    "AddAttribute": (attribute("x-a", "b"),),
    "ModifyAttribute": (attribute("x-a", "b"),),
    "DeleteAttribute": (("AttributeName", "x-a"),),
    "Activate": (),
    "Revoke": (("RevocationReason", [("RevocationReasonCode", "KeyCompromise")]),),
    "Destroy": (),
    "Check": (),
    "ReKey": (),
}


def seen(result: Result):
    return (result.status, result.reason, result.text, result.payload)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_objects_of_others_do_not_exist(kmipd, stranger, operation):
    """Another adapter's object is answered word for word like none at all, and is untouched."""
    with kmipd.connect() as client:
        made = ask(client, create(attribute("x-a", "1"))).only().succeeded().id
    payload = OPERATIONS[operation]
    theirs = do(stranger, operation, ("UniqueIdentifier", made), *payload).failed("ItemNotFound")
    nobodys = do(stranger, operation, ("UniqueIdentifier", UNKNOWN_ID), *payload)
    assert seen(theirs) == seen(nobodys)
    with kmipd.connect() as client:
        names = [("AttributeName", "State"), ("AttributeName", "x-a")]
        result = do(client, "GetAttributes", ("UniqueIdentifier", made), *names).succeeded()
        assert result.attributes == [("State", 1), ("x-a", "1")]


def test_locate_stays_in_the_adapter(kmipd, stranger):
    """By name, by attribute, by identifier, and with no condition at all."""
    name = attribute("Name", name_value(unique("shared")))
    mark = attribute("x-mark", unique("mark"))
    with kmipd.connect() as client:
        theirs = ask(client, create(name, mark)).only().succeeded().id
    for condition in ([name], [mark], [attribute("Unique Identifier", theirs)], []):
        assert do(stranger, "Locate", *condition).succeeded().all("UniqueIdentifier") == []
    mine = ask(stranger, create(name, mark)).only().succeeded().id  # the name is free here
    for condition in ([name], [mark], []):
        assert do(stranger, "Locate", *condition).succeeded().all("UniqueIdentifier") == [mine]
    with kmipd.connect() as client:
        assert do(client, "Locate", name).succeeded().all("UniqueIdentifier") == [theirs]


def test_link_to_another_adapter_shows_nothing(kmipd, stranger):
    """A Link is only text: whether its target exists elsewhere must not show."""
    with kmipd.connect() as client:
        theirs = ask(client, create()).only().succeeded().id
    results = []
    for target in (theirs, UNKNOWN_ID):
        mine = ask(stranger, create()).only().succeeded().id
        link = attribute(
            "Link", [("LinkType", "NextLink"), ("LinkedObjectIdentifier", target)]
        )
        result = do(stranger, "AddAttribute", ("UniqueIdentifier", mine), link)
        results.append((result.status, result.reason, result.text))
    assert results[0] == results[1]


# Credentials


@pytest.fixture
def guarded(kmipd, tmp_path):
    """A client of an adapter that knows a user and a password."""
    name, password = unique("guarded"), tmp_path / "password"
    password.touch(mode=0o600)
    password.write_text("correct horse\n")
    kmipd.ctl("adapter", "create", name, "--username", "vcenter", "--password-file", password)
    with let_in(kmipd, self_signed(tmp_path, unique("guarded")), name) as certificate:
        with connect(kmipd, certificate) as client:
            yield client


def credential(user: str, password: str):
    value = [("Username", user), ("Password", password)]
    return [
        (
            "Authentication",
            [
                (
                    "Credential",
                    [
                        ("CredentialType", "UsernameAndPassword"),
                        field("CredentialValue", value, Type.STRUCTURE),
                    ],
                )
            ],
        )
    ]


def test_credential_is_checked_when_present(guarded):
    """vCenter sends it on some requests and not on others (kmip-clients §0.8)."""
    ask(guarded, create()).only().succeeded()
    ask(guarded, create(), fields=credential("vcenter", "correct horse")).only().succeeded()
    ask(guarded, batch_item("DiscoverVersions")).only().succeeded()


@pytest.mark.parametrize(
    "user, password", [("vcenter", "wrong"), ("vcenter", ""), ("other", "correct horse"), ("", "")]
)
def test_wrong_credential(guarded, user, password):
    answer = ask(guarded, create(), fields=credential(user, password))
    assert answer.items
    for result in answer.items:
        result.failed("AuthenticationNotSuccessful")
