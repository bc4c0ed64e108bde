# SPDX-License-Identifier: Apache-2.0
"""The client of Key Protect against a stand-in for the service, and against what may go wrong."""

import base64
import contextlib
import json
import os
import socket
import subprocess
import threading
import time
import uuid

import pytest

from tests.support.certificates import self_signed
from tests.support.keyprotect import Answer, Key, KeyProtect, Refused
from tests.support.paths import tool

OBJECT, ADAPTER = str(uuid.uuid4()), str(uuid.uuid4())
PLAINTEXT = bytes(range(32)).hex()


class Tool:
    """keymanager_tool, running."""

    def __init__(self, **options) -> None:
        arguments = [f"{name}={value}" for name, value in options.items()]
        self.process = subprocess.Popen(
            [str(tool("keymanager_tool")), *arguments], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.opened = json.loads(self.process.stdout.readline() or "{}")

    def __call__(self, do: str, **members) -> dict:
        self.begin(do, **members)
        return self.end()

    def begin(self, do: str, **members) -> None:
        self.process.stdin.write(json.dumps({"do": do, **members}) + "\n")
        self.process.stdin.flush()

    def end(self) -> dict:
        line = self.process.stdout.readline()
        assert line, f"the tool ended: {self.process.stderr.read()}"
        return json.loads(line)

    def close(self) -> dict:
        rest, errors = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, errors
        return json.loads(rest)


@pytest.fixture
def service(tmp_path):
    with KeyProtect(tmp_path) as running:
        yield running


def options_for(service: KeyProtect, **others) -> dict:
    options = {
        "url": service.url, "iam_url": service.url, "instance": service.instance,
        "api_key_file": service.api_key_file, "ca_file": service.certificate.certificate,
        "connect_timeout": 2000, "try_timeout": 3000, "job_timeout": 6000,
    }  # fmt: skip
    options.update(others)
    return options


@pytest.fixture
def open_tool(service):
    running = []

    def open_one(**others) -> Tool:
        running.append(Tool(**options_for(service, **others)))
        return running[-1]

    yield open_one
    for one in running:
        if one.process.poll() is None:
            one.close()


@pytest.fixture
def client(open_tool):
    return open_tool()


def place(key, **others) -> dict:
    return {"object": OBJECT, "adapter": ADAPTER, "root_key": key.id, **others}


def wrap(client, key) -> str:
    answer = client("wrap", **place(key, plaintext=PLAINTEXT))
    assert answer["status"] == "OK"
    return answer["blob"]


def settle_aad(client, service, key) -> None:
    """Has it found out whether additional data works, so that requests can be counted after."""
    wrap(client, key)
    deadline = time.monotonic() + 5
    while len(service.seen("actions/unwrap")) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    wrap(client, key)
    service.requests.clear()


def unwrap(client, key, blob, **others) -> dict:
    return client("unwrap", **place(key, blob=blob, **others))


# ---- What it is for


def test_wrap_and_unwrap(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    assert PLAINTEXT not in blob
    answer = unwrap(client, key, blob)
    assert answer["status"] == "OK" and answer["plaintext"] == PLAINTEXT and "blob" not in answer


def test_the_service_never_sees_the_key(client, service):
    key = service.add_root_key()
    wrap(client, key)
    sent = b"".join(request.body for request in service.requests)
    plaintexts = [
        base64.b64decode(json.loads(request.body)["plaintext"])
        for request in service.seen("actions/wrap")
    ]
    assert base64.b64encode(bytes.fromhex(PLAINTEXT)) not in sent
    assert bytes.fromhex(PLAINTEXT) not in plaintexts and all(len(one) == 32 for one in plaintexts)


def test_headers_are_those_of_the_contract(open_tool, service):
    client = open_tool(key_ring="ring")
    key = service.add_root_key(ring="ring")
    wrap(client, key)
    (request,) = service.seen("actions/wrap")[:1]
    assert request.headers["bluemix-instance"] == service.instance
    assert uuid.UUID(request.headers["correlation-id"]).version == 4
    assert request.headers["x-kms-key-ring"] == "ring"
    assert request.headers["accept"] == "application/json"
    assert "expect" not in request.headers and "cookie" not in request.headers
    assert len({r.headers["correlation-id"] for r in service.seen("/api/v2")}) == len(
        service.seen("/api/v2")
    )


@pytest.mark.parametrize("works", [True, False])
def test_additional_data_is_probed(client, service, works):
    service.aad_works = works
    key = service.add_root_key()
    first = wrap(client, key)
    settle_aad(client, service, key)
    blob = wrap(client, key)
    (request,) = service.seen("actions/wrap")
    assert ("aad" in json.loads(request.body)) == works
    for one in (first, blob):
        assert unwrap(client, key, one)["plaintext"] == PLAINTEXT
    if works:
        (aad,) = json.loads(request.body)["aad"]
        assert aad == (OBJECT + ADAPTER + key.id).replace("-", "")


def test_a_blob_opens_in_its_place_alone(client, service):
    service.aad_works = False
    key, other = service.add_root_key(), service.add_root_key()
    blob = wrap(client, key)
    for change in ({"object": ADAPTER}, {"adapter": OBJECT}, {"root_key": other.id}):
        assert client("unwrap", **{**place(key, blob=blob), **change})["status"] == "UNWRAP_FAILED"
    assert service.seen("actions/unwrap") == [] or service.aad_works is False


def test_rotation_brings_the_newest_version(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    assert client("is_newest", blob=blob)["newest"] is True
    assert client("rotate", root_key=key.id, **{"from": 1})["status"] == "OK"
    assert len(key.versions) == 2
    assert client("is_newest", blob=blob)["newest"] is False
    answer = unwrap(client, key, blob)
    assert answer["plaintext"] == PLAINTEXT
    assert client("is_newest", blob=answer["blob"])["newest"] is True
    assert unwrap(client, key, answer["blob"])["plaintext"] == PLAINTEXT
    rewrapped = client("rewrap", **place(key, blob=blob))
    assert client("is_newest", blob=rewrapped["blob"])["newest"] is True
    assert unwrap(client, key, rewrapped["blob"])["plaintext"] == PLAINTEXT
    assert "blob" not in client("rewrap", **place(key, blob=rewrapped["blob"]))


def test_rotation_is_not_carried_out_twice(client, service):
    key = service.add_root_key()
    assert client("rotate", root_key=key.id, **{"from": 1})["status"] == "OK"
    again = client("rotate", root_key=key.id, **{"from": 1})
    assert again["status"] == "CONFLICT" and "2 versions" in again["text"]
    service.minimum_rotation = 3600
    early = client("rotate", root_key=key.id, **{"from": 2})
    assert early["status"] == "CONFLICT" and "hour" in early["text"]
    assert len(key.versions) == 2


def test_a_rotation_whose_answer_is_lost_has_happened(client, service):
    key = service.add_root_key()
    service.fault("actions/rotate", close="after")
    assert client("rotate", root_key=key.id, **{"from": 1})["status"] == "OK"
    assert len(key.versions) == 2


def test_life_of_a_root_key(client, service):
    wish = str(uuid.uuid4())
    made = client("create", id=wish, name="production")
    assert made["status"] == "OK"
    id = made["root_key"]
    assert client("create", id=wish, name="production")["root_key"] == id
    info = client("info", root_key=id)["info"]
    assert (info["state"], info["version"], info["imported"]) == (1, 1, False) and info[
        "created"
    ] > 0
    assert client("set_state", root_key=id, state=2)["status"] == "OK"
    assert client("set_state", root_key=id, state=2)["status"] == "OK"
    assert client("info", root_key=id)["info"]["state"] == 2
    assert client("set_state", root_key=id, state=1)["status"] == "OK"
    assert client("restore", root_key=id)["status"] == "CONFLICT"
    assert client("delete", root_key=id)["status"] == "OK"
    assert client("delete", root_key=id)["status"] == "OK"
    assert client("set_state", root_key=id, state=1)["status"] == "CONFLICT"
    assert client("info", root_key=id)["info"]["state"] == 5
    assert client("restore", root_key=id)["status"] == "OK"
    assert client("purge", root_key=id)["status"] == "CONFLICT"
    assert client("delete", root_key=id)["status"] == "OK"
    assert [one["id"] for one in client("root_keys")["root_keys"]] == [id]
    assert client("purge", root_key=id)["status"] == "OK"
    assert client("purge", root_key=id)["status"] == "OK"
    assert client("info", root_key=id)["status"] == "NOT_FOUND"
    assert client("restore", root_key=id)["status"] == "NOT_FOUND"


def test_imported_root_keys(client, service):
    id = client("create", id=str(uuid.uuid4()), material="11" * 24)["root_key"]
    assert service.keys[id].payload == b"\x11" * 24
    assert client("info", root_key=id)["info"]["imported"] is True
    assert client("rotate", root_key=id, **{"from": 1})["status"] == "INVALID_ARGUMENT"
    assert client("rotate", root_key=id, material="22" * 32, **{"from": 1})["status"] == "OK"
    assert service.keys[id].versions[-1][1] == b"\x22" * 32
    assert client("create", material="11" * 17)["status"] == "INVALID_ARGUMENT"


def test_purging_is_left_to_the_service_without_the_role(client, service):
    key = service.add_root_key(state=5)
    service.fault("DELETE .*/purge", instead=refusal(403, ""))
    answer = client("purge", root_key=key.id)
    assert answer["status"] == "FEATURE_NOT_SUPPORTED" and "KeyPurge" in answer["text"]


def test_records(open_tool, service):
    client = open_tool(record_key_ring="keks")
    content = os.urandom(7500)
    put = client("record_put", name="vmware_kmip-1", record=content.hex())
    assert put["status"] == "OK"
    key = service.keys[put["id"]]
    assert (key.name, key.extractable, key.ring) == ("vmware_kmip-1", True, "keks")
    assert client("record_get", id=put["id"])["record"] == content.hex()
    assert client("record_put", name="vmware_kmip-1", record="00" * 7501)["status"] == "TOO_LARGE"
    listed = client("records", prefix="vmware_kmip-")["records"]
    assert listed == [{"id": put["id"], "name": "vmware_kmip-1", "state": 1}]
    key.state = 2
    assert client("records", prefix="vmware_kmip-")["records"][0]["state"] == 2
    assert client("record_delete", id=put["id"])["status"] == "OK"
    assert client("record_delete", id=put["id"])["status"] == "OK"
    assert client("record_delete", id=str(uuid.uuid4()))["status"] == "OK"
    assert client("record_get", id=put["id"])["status"] == "NOT_FOUND"
    assert client("record_get", id=str(uuid.uuid4()))["status"] == "NOT_FOUND"
    assert client("records", prefix="vmware_kmip-")["records"][0]["state"] == 5


@pytest.mark.parametrize("search_max", [5000, 100])
def test_long_lists_are_whole(client, service, search_max):
    service.search_max, service.page_max = search_max, 300
    for i in range(1000):
        service._add(Key(f"vmware_kmip-{i}", True, b"x"))
        service._add(Key(f"other-{i}", True, b"x"))
    listed = client("records", prefix="vmware_kmip-")
    assert listed["status"] == "OK"
    assert sorted(one["name"] for one in listed["records"]) == sorted(
        f"vmware_kmip-{i}" for i in range(1000)
    )


def test_a_list_that_changes_is_not_believed(client, service):
    service.page_max = 300
    keys = sorted(
        (service._add(Key(f"vmware_kmip-{i}", True, b"x")) for i in range(900)),
        key=lambda key: key.id,
    )

    def purge(answer: Answer) -> Answer:
        for key in keys[:100]:
            service.keys.pop(key.id, None)
        return answer

    service.fault("GET /api/v2/keys$", answer=purge)
    listed = client("records", prefix="vmware_kmip-")
    assert listed["status"] == "KEY_MANAGER_UNAVAILABLE" and "changed" in listed["text"]
    assert len(client("records", prefix="vmware_kmip-")["records"]) == 800


def test_it_keeps_what_every_key_manager_promises(service):
    service.fault("DELETE .*/purge", times=10**6, instead=refusal(403, ""))
    arguments = [f"{name}={value}" for name, value in options_for(service).items()]
    done = subprocess.run(
        [str(tool("keyprotect_conformance")), *arguments], timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode == 0, "\n".join(
        line for line in done.stdout.splitlines() if " OK " not in line
    )


# ---- Tokens


def test_one_token_for_all(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    client("many", task="unwrap", count=200, **place(key, blob=blob))
    assert len(service.seen("token")) == 1


@pytest.mark.parametrize("skew", [-3600, 3600])
def test_clocks_need_not_agree(client, service, skew):
    service.clock_skew = skew
    key = service.add_root_key()
    assert unwrap(client, key, wrap(client, key))["plaintext"] == PLAINTEXT
    assert len(service.seen("token")) == 1


def test_older_token_path(client, service):
    service.token_paths = ["/oidc/token"]
    assert client("check")["status"] == "OK"


def test_a_token_is_fetched_anew_before_it_ends(client, service):
    service.token_lifetime = 2
    key = service.add_root_key()
    blob = wrap(client, key)
    deadline = time.monotonic() + 4
    while time.monotonic() < deadline:
        assert unwrap(client, key, blob)["status"] == "OK"
        time.sleep(0.02)
    assert 2 <= len(service.seen("token")) <= 5
    assert len(service.seen("unwrap")) > 50


def test_a_token_that_ends_on_the_way(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    service.tokens.clear()
    assert unwrap(client, key, blob)["plaintext"] == PLAINTEXT
    assert len(service.seen("token")) == 2
    service.tokens.clear()
    time.sleep(1.1)
    answer = client("many", task="unwrap", count=100, **place(key, blob=blob))
    assert answer["outcomes"] == {"OK": 100}
    assert len(service.seen("token")) == 3


def test_no_permission_does_not_burden_iam(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    service.requests.clear()
    service.fault("api/v2", times=1000, instead=refusal(401, ""))
    answer = client("many", task="unwrap", count=200, **place(key, blob=blob))
    assert answer["outcomes"] == {"ROOT_KEY_UNAVAILABLE": 200}
    assert len(service.seen("token")) <= 2


def test_an_api_key_that_is_replaced(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    service.api_key = "another"
    service.tokens.clear()
    assert unwrap(client, key, blob)["status"] == "ROOT_KEY_UNAVAILABLE"
    answer = client("check")
    assert answer["status"] == "ROOT_KEY_UNAVAILABLE" and "BXNIM0415E" in answer["text"]
    service.write_api_key("another")
    deadline = time.monotonic() + 8
    while unwrap(client, key, blob)["status"] != "OK":
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_iam_that_fails_is_asked_again(client, service):
    service.fault("token", times=2, instead=Answer(503, b"busy", type="text/plain"))
    assert client("check")["status"] == "OK"
    assert len(service.seen("token")) == 3


def test_an_api_key_that_others_can_read_is_not_used(client, service):
    service.api_key_file.chmod(0o644)
    answer = client("check")
    assert (
        answer["status"] == "KEY_MANAGER_UNAVAILABLE"
        and str(service.api_key_file) in answer["text"]
    )


# ---- What may go wrong


def refusal(status: int, code: str) -> Answer:
    body = json.dumps(Refused(status, code, "The message").body()).encode()
    return Answer(status, body, type="application/json")


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, 599])
def test_what_passes_is_tried_again(client, service, status):
    key = service.add_root_key()
    blob = wrap(client, key)
    service.fault("actions/unwrap", times=2, instead=refusal(status, ""))
    settle = unwrap(client, key, blob)
    assert settle["status"] == "OK"


def test_retry_after_is_honoured(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.fault("actions/unwrap", instead=Answer(429, b"", {"Retry-After": "1"}))
    assert unwrap(client, key, blob)["status"] == "OK"
    first, second = service.seen("actions/unwrap")
    assert second.at - first.at >= 1


def test_retry_after_beyond_the_deadline_fails_at_once(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.fault("actions/unwrap", instead=Answer(429, b"", {"Retry-After": "600"}))
    begun = time.monotonic()
    assert unwrap(client, key, blob)["status"] == "KEY_MANAGER_UNAVAILABLE"
    assert time.monotonic() - begun < 2


@pytest.mark.parametrize("status", [400, 422])
def test_what_does_not_pass_is_not_tried_again(client, service, status):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.fault("actions/unwrap", times=9, instead=refusal(status, "INVALID_FIELD_ERR"))
    assert unwrap(client, key, blob)["status"] == "UNWRAP_FAILED"
    assert len(service.seen("actions/unwrap")) == 1


@pytest.mark.parametrize("close", ["before", "after", "middle"])
def test_broken_connections(client, service, close):
    key = service.add_root_key()
    blob = wrap(client, key)
    service.fault("actions/unwrap", times=2, close=close)
    assert unwrap(client, key, blob)["plaintext"] == PLAINTEXT


def test_an_answer_that_does_not_come(open_tool, service):
    client = open_tool(try_timeout=300, job_timeout=1500)
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.fault("actions/unwrap", slow=1)
    assert unwrap(client, key, blob)["status"] == "OK"
    service.fault("actions/unwrap", times=99, slow=5)
    begun = time.monotonic()
    assert unwrap(client, key, blob)["status"] == "KEY_MANAGER_UNAVAILABLE"
    assert time.monotonic() - begun < 2.5
    answer = client("many", task="unwrap", count=10, time=200, **place(key, blob=blob))
    assert answer["outcomes"] == {"KEY_MANAGER_UNAVAILABLE": 10} and answer["milliseconds"] < 1000


def changed(**members):
    def change(answer: Answer) -> Answer:
        body = {**json.loads(answer.body), **members}
        return Answer(answer.status, json.dumps(body).encode())

    return change


LIES = {
    "truncated JSON": (lambda a: Answer(200, a.body[:-5]), "KEY_MANAGER_UNAVAILABLE"),
    "no JSON": (
        lambda a: Answer(200, b"<html>Login</html>", type="text/html"),
        "KEY_MANAGER_UNAVAILABLE",
    ),
    "another content type": (
        lambda a: Answer(200, a.body, type="text/plain"),
        "KEY_MANAGER_UNAVAILABLE",
    ),
    "10 MB": (lambda a: Answer(200, b"{" + b" " * 10_000_000 + b"}"), "KEY_MANAGER_UNAVAILABLE"),
    "an array": (lambda a: Answer(200, b"[]"), "KEY_MANAGER_UNAVAILABLE"),
    "nothing": (lambda a: Answer(204), "KEY_MANAGER_UNAVAILABLE"),
    "no plaintext": (lambda a: Answer(200, b"{}"), "KEY_MANAGER_UNAVAILABLE"),
    "a short key": (changed(plaintext=base64.b64encode(b"x" * 31).decode()), "UNWRAP_FAILED"),
    "a long key": (changed(plaintext=base64.b64encode(b"x" * 33).decode()), "UNWRAP_FAILED"),
    "another key": (changed(plaintext=base64.b64encode(b"x" * 32).decode()), "UNWRAP_FAILED"),
    "a redirect": (
        lambda a: Answer(302, b"", {"Location": "https://example.com/"}),
        "KEY_MANAGER_UNAVAILABLE",
    ),
    "404 of a proxy": (
        lambda a: Answer(404, b"<html>", type="text/html"),
        "KEY_MANAGER_UNAVAILABLE",
    ),
    "403 of a proxy": (
        lambda a: Answer(403, b"<html>", type="text/html"),
        "KEY_MANAGER_UNAVAILABLE",
    ),
}


@pytest.mark.parametrize("lie", LIES)
def test_lies_are_not_believed(client, service, lie):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    change, status = LIES[lie]
    service.fault("actions/unwrap", times=99, answer=change)
    answer = unwrap(client, key, blob)
    assert answer["status"] == status and "plaintext" not in answer
    service.faults.clear()
    assert unwrap(client, key, blob)["plaintext"] == PLAINTEXT


def test_a_wrap_without_ciphertext_fails(client, service):
    key = service.add_root_key()
    service.fault("actions/wrap", times=9, answer=changed(ciphertext=""))
    answer = client("wrap", **place(key, plaintext=PLAINTEXT))
    assert answer["status"] == "KEY_MANAGER_UNAVAILABLE" and "blob" not in answer


def test_another_keys_blob(client, service):
    key, other = service.add_root_key(), service.add_root_key()
    blob, others = wrap(client, key), client("wrap", **place(other, plaintext="ff" * 32))["blob"]
    header = 64 * 2
    size = int(blob[12:16], 16) * 2
    crossed = blob[:header] + others[header : header + size] + blob[header + size :]
    assert unwrap(client, key, crossed)["status"] == "UNWRAP_FAILED"


@pytest.mark.parametrize(
    "state, code, status",
    [(2, "", 409), (5, "", 410), (1, "gone", 404), (1, "", 403), (1, "", 401)],
)
def test_a_root_key_out_of_service(client, service, state, code, status):
    key = service.add_root_key()
    blob = wrap(client, key)
    key.state = state
    if code == "gone":
        del service.keys[key.id]
    if status in (401, 403):
        service.fault("api/v2", times=99, instead=refusal(status, ""))
    assert unwrap(client, key, blob)["status"] == "ROOT_KEY_UNAVAILABLE"
    assert client("wrap", **place(key, plaintext=PLAINTEXT))["status"] == "ROOT_KEY_UNAVAILABLE"
    info = client("info", root_key=key.id)
    if status in (409, 410):
        assert info["info"]["state"] == state
    else:
        assert info["status"] == ("NOT_FOUND" if status == 404 else "ROOT_KEY_UNAVAILABLE")


def test_a_standard_key_is_no_root_key(client, service):
    key = service._add(Key("standard", True))
    assert client("wrap", **place(key, plaintext=PLAINTEXT))["status"] == "ROOT_KEY_UNAVAILABLE"
    assert client("info", root_key=key.id)["status"] == "ROOT_KEY_UNAVAILABLE"


AMBIGUOUS = {
    "500 after it was made": {"answer": lambda answer: refusal(500, "")},
    "closed after it was made": {"close": "after"},
    "cut in the middle": {"close": "middle"},
    "closed before it was made": {"close": "before"},
    "answered with something else": {"answer": lambda answer: Answer(201, b"{}")},
}


@pytest.mark.parametrize("search_max", [5000, 0])
@pytest.mark.parametrize("what", AMBIGUOUS)
def test_only_one_key_is_made(client, service, what, search_max):
    service.search_max = search_max
    assert client("check")["status"] == "OK"  # so that there is a connection that can be closed
    service.fault("POST /api/v2/keys$", times=2, **AMBIGUOUS[what])
    assert client("create", id=str(uuid.uuid4()))["status"] == "OK"
    assert len(service.keys) == 1
    service.faults.clear()
    service.fault("POST /api/v2/keys$", times=2, **AMBIGUOUS[what])
    put = client("record_put", name="vmware_kmip-1", record="ab" * 100)
    assert put["status"] == "OK"
    assert len(service.keys) == 2 and service.keys[put["id"]].payload == b"\xab" * 100


def test_a_record_in_doubt_is_looked_for_later(client, service):
    service.fault("POST /api/v2/keys$", close="after")
    service.fault("GET /api/v2/keys$", times=99, instead=refusal(500, ""))
    assert (
        client("record_put", name="vmware_kmip-1", record="ab")["status"]
        == "KEY_MANAGER_UNAVAILABLE"
    )
    service.faults.clear()
    time.sleep(1.5)
    assert client("record_put", name="vmware_kmip-1", record="ab")["status"] == "OK"
    assert len(service.keys) == 1
    assert client("record_put", name="vmware_kmip-1", record="cd")["status"] == "OK"
    assert len(service.keys) == 2


def test_the_breaker_opens_and_closes(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.fault("api/v2", times=10**6, instead=refusal(503, ""))
    for _ in range(3):
        client("many", task="unwrap", count=20, **place(key, blob=blob))
    sent = len(service.requests)
    answer = client("many", task="unwrap", count=1000, **place(key, blob=blob))
    assert answer["outcomes"] == {"KEY_MANAGER_UNAVAILABLE": 1000} and answer["milliseconds"] < 500
    assert len(service.requests) <= sent + 1
    service.faults.clear()
    deadline = time.monotonic() + 15
    while unwrap(client, key, blob)["status"] != "OK":
        assert time.monotonic() < deadline, "it does not close"
        time.sleep(0.1)
    answer = client("many", task="unwrap", count=100, **place(key, blob=blob))
    assert answer["outcomes"] == {"OK": 100}


# ---- Many at once


def test_hundreds_in_flight(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.latency = 0.05
    answer = client("many", task="unwrap", count=640, **place(key, blob=blob))
    assert answer["outcomes"] == {"OK": 640}
    assert 48 <= service.in_flight_most <= 66
    assert answer["milliseconds"] < 640 * 50 / 8


def test_clients_go_before_the_background(client, service):
    key = service.add_root_key()
    blob = wrap(client, key)
    settle_aad(client, service, key)
    service.latency = 0.05
    service.in_flight_most = 0
    answer = client("many", task="unwrap", count=700, background=600, **place(key, blob=blob))
    assert answer["outcomes"] == {"OK": 700}
    assert answer["foreground"] < answer["background"] / 2
    service.in_flight_most = 0
    client("many", task="unwrap", count=300, background=300, **place(key, blob=blob))
    assert service.in_flight_most <= 48


# ---- What is wrong with the way there


def test_check_says_what_is_wrong(tmp_path, service, open_tool):
    def text(**others) -> str:
        answer = open_tool(**others)("check")
        assert answer["status"] != "OK"
        return answer["text"]

    assert open_tool()("check")["status"] == "OK"
    closed = "https://localhost:1"
    stranger = self_signed(tmp_path, "stranger").certificate
    assert "cannot connect" in text(url=closed)
    assert "cannot connect" in text(iam_url=closed, retries=1)
    assert "resolved" in text(url="https://no-such-host.invalid")
    assert "not trusted" in text(ca_file=stranger)
    assert "another name" in text(
        url=service.url.replace("localhost", "127.0.0.1"), iam_url=service.url
    )
    assert "ca-file" in text(ca_file=tmp_path / "missing")
    assert "Manager" in text(instance=str(uuid.uuid4()))
    assert "proxy" in text(proxy="http://no-such-host.invalid:3128")
    service.fault("GET /api/v2/keys", answer=lambda a: Answer(200, b"<html>", type="text/html"))
    assert "not JSON" in text()


@pytest.mark.parametrize(
    "change, text",
    [
        ({"url": "http://localhost"}, "https"),
        ({"url": "https://user:pass@localhost"}, "user name"),
        ({"url": "https://localhost/api/v2"}, "/api/v2"),
        ({"url": ""}, "url"),
        ({"instance": "x"}, "GUID"),
        ({"key_ring": "a\r\nb"}, "key ring"),
        ({"api_key_file": ""}, "api-key-file"),
    ],
)
def test_options_that_are_wrong(service, change, text):
    made = Tool(**options_for(service, **change))
    _, errors = made.process.communicate(timeout=10)
    assert made.opened["status"] == "INVALID_ARGUMENT" and text in errors


def test_texts_have_no_secrets(client, service):
    key = service.add_root_key()
    wrap(client, key)
    token = next(iter(service.tokens))
    secret = base64.b64encode(os.urandom(32)).decode()
    message = f"could not use {secret} with {token} and\u001b[31m\n{service.api_key}"
    body = json.dumps({"resources": [{"errorMsg": message}]}).encode()
    service.fault("api/v2", times=9, instead=Answer(400, body, type="application/json"))
    answer = client("check")
    assert "correlation id" in answer["text"]
    for one in (secret, token, "\x1b", "\n"):
        assert one not in answer["text"]


class Proxy:
    """Lets CONNECT through, and counts."""

    def __enter__(self) -> "Proxy":
        self.seen = []
        self.socket = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.socket.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.socket.getsockname()[1]}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(
                    target=self._serve, args=self.socket.accept()[:1], daemon=True
                ).start()

    def _serve(self, client) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        target = head.split(b" ")[1].decode()
        self.seen.append(target)
        host, _, port = target.rpartition(":")
        server = socket.create_connection((host, int(port)))
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        threading.Thread(target=self._pass, args=(server, client), daemon=True).start()
        self._pass(client, server)

    @staticmethod
    def _pass(source, target) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)


def test_through_a_proxy(open_tool, service):
    with Proxy() as proxy:
        client = open_tool(proxy=proxy.url)
        key = service.add_root_key()
        assert unwrap(client, key, wrap(client, key))["plaintext"] == PLAINTEXT
        assert set(proxy.seen) == {f"localhost:{service.port}"}


def test_the_environment_does_not_matter(service, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    made = Tool(**options_for(service))
    assert made("check")["status"] == "OK"
    made.close()
