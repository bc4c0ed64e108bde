# SPDX-License-Identifier: Apache-2.0
"""The TLS side: who gets in, what the handshake must bear, how bytes become messages."""

import ssl
import time
import uuid
import warnings

import pytest

from tests.support import ttlv
from tests.support.certificates import let_in, self_signed
from tests.support.client import Client, Closed, tls_context
from tests.support.message import (
    Answer,
    ask,
    attribute,
    batch_item,
    create,
    do,
    field,
    request,
)
from tests.support.ttlv import Type

VERSION = (1, 1)

# vCenter's first message, byte for byte (kmip-clients §1.2)
DISCOVER = bytes.fromhex(
    "42007801000000604200770100000038420069010000002042006a0200000004000000010000000042006b02000000"
    "04000000010000000042000d0200000004000000010000000042000f010000001842005c05000000040000001e0000"
    "00004200790100000000"
)


def discover(client: Client) -> Answer:
    return Answer(ttlv.decode(client.exchange(DISCOVER)))


def only(version: ssl.TLSVersion, context: ssl.SSLContext) -> ssl.SSLContext:
    """The context, limited to one version of TLS."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of TLS 1.1
        context.minimum_version = version
        context.maximum_version = version
    return context


TLS_VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]
by_name = {"ids": lambda version: version.name}


# Versions and ciphers


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
def test_versions(kmipd, version):
    with kmipd.connect(only(version, kmipd.context())) as client:
        assert client.tls.version() == version.name.replace("_", ".")
        discover(client).only().succeeded()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1], **by_name)
def test_old_versions_are_refused(kmipd, version):
    context = only(version, kmipd.context())
    context.set_ciphers("ALL:@SECLEVEL=0")  # or our own library would refuse first
    with pytest.raises((ssl.SSLError, ConnectionError)) as caught:
        kmipd.connect(context)
    assert "no protocols available" not in str(caught.value).lower(), "refused by the client"


@pytest.mark.parametrize("ciphers", ["AES128-SHA256", "AES256-SHA", "ECDHE+AES+SHA1", "NULL:RC4"])
def test_weak_suites_are_refused(kmipd, ciphers):
    """No forward secrecy or no authenticated encryption: only where an administrator allows it."""
    context = only(ssl.TLSVersion.TLSv1_2, kmipd.context())
    try:
        context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
    except ssl.SSLError:
        pytest.skip("this Python cannot offer them")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        kmipd.connect(context)


@pytest.mark.parametrize("cipher", ["AES128-GCM-SHA256", "AES256-GCM-SHA384"])
def test_suites_of_vcenter(kmipd, cipher):
    context = only(ssl.TLSVersion.TLSv1_2, kmipd.context())
    context.set_ciphers(f"ECDHE-RSA-{cipher}:ECDHE-ECDSA-{cipher}")
    with kmipd.connect(context) as client:
        assert client.tls.cipher()[0].endswith(cipher)
        discover(client).only().succeeded()


def test_server_certificate(kmipd):
    """Signed by the state's CA, for the names and addresses of this machine, for ten years."""
    with kmipd.connect() as client:
        shown = client.tls.getpeercert()
    names = shown["subjectAltName"]
    assert ("IP Address", "127.0.0.1") in names
    assert ("DNS", "localhost") in names
    life = ssl.cert_time_to_seconds(shown["notAfter"]) - ssl.cert_time_to_seconds(
        shown["notBefore"]
    )
    assert life > 9.9 * 365 * 86400


# Who may


def strangers(folder):
    """Certificates that no adapter knows."""
    return {
        "elliptic": self_signed(folder, "stranger"),
        "rsa": self_signed(folder, "kmipClient20250403095640", kind="rsa"),
        "server-only": self_signed(
            folder, "server-only", extensions=("extendedKeyUsage=serverAuth",)
        ),
        "ca": self_signed(folder, "ca", extensions=("keyUsage=critical,keyCertSign",)),
        "same-name": self_signed(folder, "default"),
    }


@pytest.fixture(scope="module")
def unknown(tmp_path_factory):
    return strangers(tmp_path_factory.mktemp("strangers"))


def stranger_context(server, unknown, name):
    if name == "none":
        return tls_context(server.ca)
    return server.context(unknown[name].certificate, unknown[name].key)


STRANGERS = ["none", "elliptic", "rsa", "server-only", "ca", "same-name"]


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
@pytest.mark.parametrize("name", STRANGERS)
def test_unknown_client(kmipd, unknown, name, version):
    """The handshake completes, so that vCenter can show our certificate; the first request is
    refused (kmip-clients §2), in its version, and says why."""
    context = only(version, stranger_context(kmipd, unknown, name))
    with kmipd.connect(context) as client:
        assert client.tls.getpeercert()
        answer = discover(client)
        assert answer.version == VERSION
        for result in answer.items:
            result.failed("AuthenticationNotSuccessful")
        assert answer.items


@pytest.mark.parametrize("operation", ["Query", "Create", "Get", "Locate"])
def test_unknown_client_learns_nothing(kmipd, unknown, operation):
    """Whatever is asked, and whether the object exists or not: the same answer."""
    with kmipd.connect() as client:
        existing = ask(client, create()).only().succeeded().id
    texts = set()
    for identifier in (existing, "00000000-0000-4000-8000-000000000000"):
        payload = [("UniqueIdentifier", identifier)] if operation == "Get" else []
        with kmipd.connect(stranger_context(kmipd, unknown, "elliptic")) as client:
            answer = ask(client, batch_item(operation, *payload))
            texts |= {result.failed("AuthenticationNotSuccessful").text for result in answer.items}
    assert len(texts) == 1


def test_unknown_clients_do_not_lock_out_others(kmipd, unknown):
    """Ten handshakes a second while trust is set up (kmip-clients §1.3)."""
    context = stranger_context(kmipd, unknown, "elliptic")
    for _ in range(20):
        with kmipd.connect(context) as client:
            client.send(DISCOVER)
    with kmipd.connect() as client:
        discover(client).only().succeeded()


def test_half_of_all_connections_are_bare(kmipd):
    """A handshake and nothing else, known client or not, closed with or without a notify."""
    context, nobody = kmipd.context(), tls_context(kmipd.ca)
    for index in range(20):
        client = kmipd.connect(context if index % 2 else nobody)
        if index % 4 < 2:
            client.tls.settimeout(20)
            client.tls.unwrap()
        client.close()
    with kmipd.connect(context) as client:
        discover(client).only().succeeded()


# Resumption


def session_of(server, context) -> ssl.SSLSession:
    """A session to resume: in TLS 1.3 the ticket comes after the handshake."""
    with server.connect(context) as client:
        discover(client)
        assert not client.tls.session_reused
        return client.tls.session


@pytest.fixture
def newcomer(kmipd, tmp_path):
    """A certificate let in just now. The server issues no more tickets to those who were given
    some and never used one, as other tests do not."""
    with let_in(kmipd, self_signed(tmp_path, f"newcomer-{uuid.uuid4()}")) as certificate:
        yield certificate


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
def test_resumption(kmipd, newcomer, version):
    """A resumed session is still the same client: it needs a session id context (Veeam)."""
    context = only(version, kmipd.context(newcomer.certificate, newcomer.key))
    session = session_of(kmipd, context)
    assert session.has_ticket or session.id
    with kmipd.connect(context, session=session) as client:
        assert client.tls.session_reused
        discover(client).only().succeeded()
        made = ask(client, create(), version=VERSION).only().succeeded()
    with kmipd.connect() as client:
        do(client, "Get", ("UniqueIdentifier", made.id)).succeeded()


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
def test_resumption_goes_on(kmipd, newcomer, version):
    """One after another, each with what the last one left."""
    context = only(version, kmipd.context(newcomer.certificate, newcomer.key))
    session = session_of(kmipd, context)
    for _ in range(8):
        with kmipd.connect(context, session=session) as client:
            assert client.tls.session_reused
            discover(client).only().succeeded()
            session = client.tls.session


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
def test_resumption_ends_with_the_certificate(kmipd, tmp_path, version):
    """Whose certificate was deleted does not come in by a session of before."""
    certificate = self_signed(tmp_path, f"deleted-{uuid.uuid4()}")
    context = only(version, kmipd.context(certificate.certificate, certificate.key))
    with let_in(kmipd, certificate):
        session = session_of(kmipd, context)
    with kmipd.connect(context, session=session) as client:
        for result in discover(client).items:
            result.failed("AuthenticationNotSuccessful")


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
@pytest.mark.parametrize("name", ["none", "elliptic"])
def test_resumption_does_not_let_in(kmipd, unknown, name, version):
    """A stranger who comes back is still a stranger, whether the session resumes or not."""
    context = only(version, stranger_context(kmipd, unknown, name))
    session = session_of(kmipd, context)
    with kmipd.connect(context, session=session) as client:
        for result in discover(client).items:
            result.failed("AuthenticationNotSuccessful")


# Bytes and messages


def numbered(count: int):
    """Requests that can be told apart."""
    return [
        ttlv.encode(request(batch_item("DiscoverVersions", identifier=b"%06d" % number)))
        for number in range(count)
    ]


def receive_numbered(client: Client, count: int) -> None:
    for number in range(count):
        answer = Answer(ttlv.decode(client.receive()))
        assert answer.only().succeeded().identifier == b"%06d" % number


def test_pipelined(kmipd):
    """Requests sent without waiting are answered one by one, in order."""
    with kmipd.connect() as client:
        for data in numbered(50):
            client.send(data)
        receive_numbered(client, 50)


def test_several_messages_in_one_record(kmipd):
    with kmipd.connect() as client:
        data = b"".join(numbered(2))
        client.send(data)
        receive_numbered(client, 2)
        client.send(data + data[:50])
        receive_numbered(client, 2)
        client.send(data[50 : len(data) // 2])
        assert Answer(ttlv.decode(client.receive())).only().identifier == b"000000"


@pytest.mark.parametrize("version", TLS_VERSIONS, **by_name)
def test_byte_by_byte(kmipd, version):
    """Every byte in a record of its own."""
    with kmipd.connect(only(version, kmipd.context())) as client:
        for byte in DISCOVER:
            client.send(bytes([byte]))
        Answer(ttlv.decode(client.receive())).only().succeeded()


@pytest.mark.parametrize("split", range(1, 24))
def test_split_anywhere(kmipd, split):
    """In two records, cut within the frame's header and behind it."""
    with kmipd.connect() as client:
        client.send(DISCOVER[:split])
        client.send(DISCOVER[split:])
        Answer(ttlv.decode(client.receive())).only().succeeded()


def opaque(size: int):
    """A Register request of about `size` bytes."""
    return batch_item(
        "Register",
        ("ObjectType", "OpaqueObject"),
        ("TemplateAttribute", [attribute("x-size", size)]),
        (
            "OpaqueObject",
            [
                field("OpaqueDataType", 0x80000001, Type.ENUMERATION),
                ("OpaqueDataValue", bytes(range(256)) * (size // 256)),
            ],
        ),
    )


@pytest.mark.parametrize("size", [1 << 10, 16 << 10, 48 << 10])
def test_messages_larger_than_a_record(kmipd, size):
    """TLS cuts at 16 KiB; the message arrives and comes back whole."""
    with kmipd.connect() as client:
        made = ask(client, opaque(size)).only().succeeded()
        got = do(client, "Get", ("UniqueIdentifier", made.id)).succeeded()
        assert got.get("OpaqueObject", "OpaqueDataValue") == bytes(range(256)) * (size // 256)
        do(client, "Destroy", ("UniqueIdentifier", made.id)).succeeded()


def test_many_requests_on_one_connection(kmipd):
    with kmipd.connect() as client:
        for data in numbered(500):
            client.exchange(data)


def test_close_after_the_answer(kmipd):
    """The client's close_notify ends the connection in order."""
    with kmipd.connect() as client:
        discover(client).only().succeeded()
        client.tls.settimeout(20)
        try:
            client.tls.unwrap()
        except (ssl.SSLError, Closed) as error:
            pytest.fail(f"no orderly close: {error}")



def test_flood_of_strangers_does_not_fill_the_audit_log(fresh_kmipd, tmp_path):
    """Beyond a burst, unknown clients are shown out without an answer and without a record."""
    stranger = self_signed(tmp_path, "stranger")
    context = fresh_kmipd.context(stranger.certificate, stranger.key)
    answered = dropped = 0
    end = time.monotonic() + 20
    while dropped == 0 and answered < 5000 and time.monotonic() < end:
        try:
            with fresh_kmipd.connect(context) as client:
                while answered < 5000:
                    do(client, "Query", ("QueryFunction", "QueryOperations")).failed(
                        "AuthenticationNotSuccessful"
                    )
                    answered += 1
        except Closed:
            dropped += 1
    assert answered >= 1000 and dropped == 1
    with fresh_kmipd.connect() as client:
        do(client, "Query", ("QueryFunction", "QueryOperations")).succeeded()
    status = fresh_kmipd.ctl_json("status")
    assert status["connections"]["unknown_clients_dropped"] == 1
