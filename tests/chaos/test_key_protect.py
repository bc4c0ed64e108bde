# SPDX-License-Identifier: Apache-2.0
"""Root keys in another machine: what is done there takes keys out of service here and brings them
back; that it is gone, or lies, loses nothing; and what it has recorded rebuilds a lost store."""

import base64
import contextlib
import json
import uuid

import pytest

from tests.chaos.load import Load, eventually, get, material_of
from tests.chaos.root_keys import (
    check_all,
    create_keys,
    keeper_of,
    make_keys,
    read_keys,
    records_at,
    root_key_of,
    start_ctl,
    store_of,
)
from tests.chaos.test_secrets import Needles
from tests.support.api import Api, new_key
from tests.support.key_managers import kmipd_configured, write_config
from tests.support.keyprotect import Answer, KeyProtect
from tests.support.message import ask, create, do
from tests.support.server import Server

AT_ONCE = 5.0  # seconds, in which what is looked at each second is seen on a busy machine


@pytest.fixture
def keeper(made_state, tmp_path):
    """The other kmipd."""
    with keeper_of(made_state, tmp_path / "keeper") as running:
        yield running


@pytest.fixture
def api(keeper):
    with Api(keeper) as client:
        yield client


@pytest.fixture
def server(keeper, tmp_path):
    """The kmipd that uses it for all its keys, and looks at it each second."""
    arguments, environment = kmipd_configured(keeper, tmp_path / "etc", request_timeout="4s")
    running = Server(tmp_path / "state", arguments, environment).start()
    yield running
    running.kill()


def refused(server, identifier, reason="GeneralFailure") -> bool:
    with server.connect() as client:
        result = get(client, identifier)
    if result.status != "Success":
        result.failed(reason)
    return result.status != "Success"


def served(server, identifier, material) -> bool:
    with server.connect() as client:
        result = get(client, identifier)
    return result.status == "Success" and material_of(result) == material


def make_recorded_keys(server, api, count):
    """Keys whose records hold them as they are: the first Get changes a key (KMIP 1.4 §3.33), which
    is then recorded anew."""
    made = create_keys(server, count)
    first = records_at(api)
    keys = read_keys(server, made)
    eventually(lambda: not set(first.values()) & set(records_at(api).values()), 30)
    return keys


def kept_by(server):
    return server.ctl_json("key-manager", "check", "key-protect")


def put_out_of_service(api, method, path) -> None:
    answer = api.call(method, path)
    assert answer.status in (200, 201, 204), answer.body


# ---- Records ----


def test_a_record_is_there_before_create_is_answered(server, api):
    with server.connect() as client:
        for _ in range(30):
            made = ask(client, create()).only().succeeded().id
            answer = api.call("GET", f"/keys?extractable=true&search=vmware_kmip-{made}")
            assert answer.resource["name"] == f"vmware_kmip-{made}"
            assert answer.resource["state"] == 1


def test_a_single_key_is_taken_out_of_service_there(server, api):
    keys = make_recorded_keys(server, api, 50)
    gone, *others = keys
    record = records_at(api)[gone]
    put_out_of_service(api, "DELETE", f"/keys/{record}")
    eventually(lambda: refused(server, gone, "PermissionDenied"), AT_ONCE)
    check_all(server, {name: keys[name] for name in others})
    assert kept_by(server)["withdrawn"] == 1
    server.restart()
    assert refused(server, gone, "PermissionDenied"), "a restart brings it back"
    put_out_of_service(api, "POST", f"/keys/{record}/restore")
    eventually(lambda: served(server, gone, keys[gone]), AT_ONCE)
    check_all(server, keys)


@pytest.mark.parametrize(
    "away, back",
    [
        (("POST", "actions/disable"), ("POST", "actions/enable")),
        (("DELETE", ""), ("POST", "restore")),
    ],
    ids=["disabled", "deleted"],
)
def test_the_root_key_is_taken_away_there(server, api, away, back):
    keys = make_keys(server, 50)
    root_key = f"/keys/{root_key_of(server)}"
    first = next(iter(keys))
    assert served(server, first, keys[first])
    put_out_of_service(api, away[0], f"{root_key}/{away[1]}".rstrip("/"))
    eventually(lambda: refused(server, first), AT_ONCE)
    assert all(refused(server, name) for name in list(keys)[1:10]), "from the cache"
    with server.connect() as client:
        ask(client, create()).only().failed("GeneralFailure")
    server.restart()
    assert refused(server, first)
    put_out_of_service(api, back[0], f"{root_key}/{back[1]}")
    eventually(lambda: served(server, first, keys[first]), AT_ONCE)
    check_all(server, keys)
    make_keys(server, 1)


def test_the_key_manager_is_stopped_and_started(server, keeper):
    keys = make_keys(server, 100)
    keeper.kill()
    check_all(server, keys)
    with server.connect() as client:
        ask(client, create()).only().failed("GeneralFailure")
    check_all(server, keys)
    keeper.start()
    eventually(lambda: can_create(server))
    server.restart()
    check_all(server, keys)


def can_create(server) -> bool:
    with server.connect() as client:
        return ask(client, create()).only().status == "Success"


# ---- A lost store ----


def attributes_of(server, identifiers):
    with server.connect() as client:
        return {
            name: [
                (key, str(value))
                for key, value in do(client, "GetAttributes", ("UniqueIdentifier", name))
                .succeeded()
                .attributes
            ]
            for name in identifiers
        }


def let_in_again(server, adapter) -> None:
    """Certificates are in no record."""
    server.ctl("cert", "delete", "default", "--adapter", "default", "--yes")
    server.ctl("cert", "add", server.certificate, "--adapter", adapter)


def objects_in(state) -> int:
    with store_of(state) as store:
        return store.execute("SELECT count(*) FROM object").fetchone()[0]


def rebuild_under_kills(server, count) -> None:
    """Kills it each time when it has made some more."""
    for part in (1, 2, 3):
        running = start_ctl(server, "adapter", "rebuild", "--key-manager", "key-protect")
        eventually(lambda: objects_in(server.state) >= part * count // 5)
        server.kill()
        running.communicate(timeout=60)
        assert objects_in(server.state) < count, "it was not killed in the middle"
        server.start()


def leave_stranger(api):
    """What looks like a record and is none."""
    name = f"vmware_kmip-{uuid.uuid4()}"
    payload = base64.b64encode(b"no record at all").decode()
    made = api.call("POST", "/keys", new_key(name, extractable=True, payload=payload))
    assert made.status == 201, made.body
    return name


def rebuild(server, check=True):
    done = server.ctl("adapter", "rebuild", "--key-manager", "key-protect", "--json", check=check)
    return json.loads(done.stdout)


def test_a_lost_store_is_rebuilt(server, api, tmp_path):
    """In another state directory, from the key manager alone; killed again and again meanwhile."""
    keys = make_recorded_keys(server, api, 400)
    attributes = attributes_of(server, list(keys)[1:50])
    adapter = server.ctl_json("adapter", "show", "default")["uuid"]
    deleted = next(iter(keys))
    put_out_of_service(api, "DELETE", f"/keys/{records_at(api)[deleted]}")
    stranger = leave_stranger(api)
    server.kill()
    left = {name: keys[name] for name in keys if name != deleted}
    with Server(tmp_path / "anew", server.arguments) as anew:
        rebuild_under_kills(anew, len(left))
        rebuilt = rebuild(anew, check=False)
        assert [failure["record"] for failure in rebuilt["failures"]] == [stranger], rebuilt
        assert rebuilt["objects"] + rebuilt["present"] == len(left), rebuilt
        let_in_again(anew, adapter)
        check_all(anew, left)
        assert attributes_of(anew, attributes) == attributes
        again = rebuild(anew, check=False)
        assert again["objects"] == 0 and again["present"] == len(left), again
        make_keys(anew, 1)


# ---- A key manager that lies ----


@pytest.fixture
def service(tmp_path):
    (tmp_path / "service").mkdir()
    with KeyProtect(tmp_path / "service") as running:
        yield running


@pytest.fixture
def misled(service, tmp_path):
    """A kmipd that uses it, keeps no unwrapped key, and logs all that it ever logs."""
    text = (
        "[server]\nlog-level = debug\n"
        "[keys]\nkey-manager = key-protect\ncheck-interval = 1s\ncache-count = 0\n"
        f"[key-protect]\nurl = {service.url}\niam-url = {service.url}\n"
        f"instance = {service.instance}\napi-key-file = {service.api_key_file}\n"
        f"ca-file = {service.certificate.certificate}\nrequest-timeout = 2s\nwarm = no\n"
    )
    running = Server(tmp_path / "state", write_config(tmp_path / "etc", text)).start()
    yield running
    running.kill()


def body_of(answer) -> dict:
    return json.loads(answer.body)


def changed(**members):
    """Answers with other members."""
    return lambda answer: Answer(answer.status, json.dumps({**body_of(answer), **members}).encode())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


LIES = {
    "another key": changed(plaintext=b64(bytes(range(32)))),
    "shorter key": changed(plaintext=b64(bytes(31))),
    "longer key": changed(plaintext=b64(bytes(4096))),
    "no key": changed(plaintext=""),
    "not base64": changed(plaintext="*" * 44),
    "a number": changed(plaintext=5),
    "truncated": lambda answer: Answer(200, answer.body[: len(answer.body) // 2]),
    "empty": lambda answer: Answer(200, b""),
    "10 MB": lambda answer: Answer(200, b'{"plaintext":"' + b"A" * (10 << 20) + b'"}'),
    "deep": lambda answer: Answer(200, b"[" * 100000),
    "a page": lambda answer: Answer(200, b"<html>Welcome!</html>", type="text/html"),
    "wrong type": lambda answer: Answer(200, answer.body, type="text/html"),
    "429": lambda answer: Answer(429, b"{}", {"Retry-After": "1"}),
    "503": lambda answer: Answer(503, b"down", type="text/plain"),
    "500": lambda answer: Answer(500, answer.body),
    "404": lambda answer: Answer(404, b"not here", type="text/plain"),
}


@contextlib.contextmanager
def lying(service, pattern, answer):
    fault = service.fault(pattern, times=1 << 30, answer=answer)
    try:
        yield fault
    finally:
        service.faults.remove(fault)


def secrets_of(service, keys) -> Needles:
    """All that no log may have: keys, the keys that they are wrapped with, tokens, the API key."""
    named = {f"key {name}": material for name, material in keys.items()}
    for request in service.seen(r"actions/wrap"):
        named["envelope key"] = base64.b64decode(json.loads(request.body)["plaintext"])
    named["API key"] = service.api_key.encode()
    named.update({f"token {number}": each.encode() for number, each in enumerate(service.tokens)})
    return Needles(named)


def check_logs(server, needles) -> None:
    for path in [server.log_path, *(server.state / "audit").glob("*.jsonl")]:
        data = path.read_bytes()
        assert data, path
        assert not needles.found_in(data), path


def recovers(server, keys) -> None:
    """Breakers close and back-offs end; then all is as before."""
    name, material = next(iter(keys.items()))
    eventually(lambda: served(server, name, material))
    check_all(server, keys)


@pytest.mark.parametrize("shard", range(2))
def test_lies_about_keys_open_nothing(misled, service, shard):
    keys = make_keys(misled, 50)
    for name in sorted(LIES)[shard::2]:
        with lying(service, "actions/unwrap", LIES[name]) as fault:
            identifier = next(iter(keys))
            with misled.connect() as client:
                result = get(client, identifier)
            result.failed("GeneralFailure", "CryptographicFailure")
            assert fault.happened > 0, name
        recovers(misled, keys)
    check_logs(misled, secrets_of(service, keys))


def test_another_keys_ciphertext_does_not_open(misled, service):
    """The service mixes up its answers to wraps: what was acknowledged opens, all the same."""
    keys = make_keys(misled, 50)
    elsewhere = json.loads(service.seen("actions/wrap")[0].body)
    root_key = next(key for key in service.keys.values() if not key.extractable)
    foreign = service._seal(root_key, b"\7" * 32, elsewhere)
    acknowledged = {}
    with lying(service, "actions/wrap", changed(**foreign)):
        with misled.connect() as client:
            for _ in range(5):
                result = ask(client, create()).only()
                if result.status == "Success":
                    acknowledged[result.id] = None
                else:
                    result.failed("GeneralFailure", "CryptographicFailure")
    recovers(misled, keys)
    check_all(misled, acknowledged)


def test_a_gift_that_is_none(misled, service):
    """An unwrap under an older version brings the key under the newest one along: another's."""
    keys = make_keys(misled, 20)
    root_key = next(key for key in service.keys.values() if not key.extractable)
    service.rotate(root_key)
    said = json.loads(service.seen("actions/unwrap")[0].body)
    foreign = service._seal(root_key, b"\7" * 32, said)
    with lying(service, "actions/unwrap", changed(ciphertext=foreign["ciphertext"])):
        check_all(misled, keys)
    check_all(misled, keys)
    misled.restart()
    recovers(misled, keys)


@pytest.mark.parametrize("what", ["truncated", "10 MB", "a page", "429", "503", "empty"])
def test_no_create_is_acknowledged_that_was_not_wrapped(misled, service, what):
    keys = make_keys(misled, 50)
    with lying(service, "actions/wrap", LIES[what]), misled.connect() as client:
        ask(client, create()).only().failed("GeneralFailure")
    recovers(misled, keys)
    # The record: nothing is done, and something answered.
    said = LIES[what](Answer(201, b'{"metadata":{}}'))
    not_done = service.fault("POST /api/v2/keys$", times=1 << 30, instead=said)
    with misled.connect() as client:
        ask(client, create()).only().failed("GeneralFailure")
    service.faults.remove(not_done)
    recovers(misled, keys)
    eventually(lambda: can_create(misled))
    check_all(misled, keys)
    check_logs(misled, secrets_of(service, keys))


def test_rotation_with_a_service_that_fails_now_and_then(misled, service):
    """Every third rewrap answers with something else; all keys arrive in the end."""
    keys = make_keys(misled, 100)
    root_key = root_key_of(misled)
    lies = [LIES[name] for name in ("truncated", "503", "a page")]
    faults = [
        service.fault("actions/(re|un)wrap", times=10, skip=7 * number, answer=answer)
        for number, answer in enumerate(lies)
    ]
    with Load(misled, 2):
        misled.ctl("root-key", "rotate", root_key)
        eventually(lambda: all(fault.happened == fault.times for fault in faults))
    service.faults.clear()
    recovers(misled, keys)
    check_logs(misled, secrets_of(service, keys))
