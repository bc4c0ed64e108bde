# SPDX-License-Identifier: Apache-2.0
"""A stand-in for IBM Key Protect and IAM, on one port, with faults to order.

It keeps to what IBM publishes of the API: fields, codes, states, limits. It runs in a thread of the
test's process, so that a test can look into it and change it.
"""

import asyncio
import base64
import hashlib
import json
import os
import re
import ssl
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple
from urllib.parse import parse_qs, unquote, urlsplit

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from tests.support.certificates import Certificate, self_signed

KEY = "application/vnd.ibm.kms.key+json"
ERROR = "application/vnd.ibm.kms.error+json"
REASONS = {200: "OK", 201: "Created", 204: "No Content", 429: "Too Many Requests"}


class Refused(Exception):
    """An error answer of the service."""

    def __init__(self, status: int, code: str = "", message: str = "") -> None:
        super().__init__(code)
        self.status, self.code, self.message = status, code, message

    def body(self) -> dict:
        resource: dict = {"errorMsg": self.message or f"Error: ({self.code})"}
        if self.code:
            resource["reasons"] = [
                {"code": self.code, "message": "as it says", "status": self.status}
            ]
        return {
            "metadata": {"collectionType": ERROR, "collectionTotal": 1},
            "resources": [resource],
        }


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


@dataclass
class Key:
    """One key, root or standard. The first version has the key's own identifier."""

    name: str
    extractable: bool
    payload: Optional[bytes] = None  # what was imported
    description: Optional[str] = None
    ring: str = "default"
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: int = 1
    versions: List[Tuple[str, bytes]] = field(default_factory=list)  # newest last
    created: str = field(default_factory=now)
    rotated: Optional[str] = None
    deleted: Optional[str] = None

    def __post_init__(self) -> None:
        if not self.versions:
            self.versions = [(self.id, self.payload or os.urandom(32))]

    def metadata(self) -> dict:
        said = {
            "type": KEY, "id": self.id, "name": self.name, "state": self.state,
            "extractable": self.extractable, "imported": self.payload is not None,
            "crn": f"crn:v1:bluemix:public:kms:test:a/1:2:key:{self.id}", "keyRingID": self.ring,
            "creationDate": self.created, "deleted": self.state == 5,
        }  # fmt: skip
        if self.description is not None:
            said["description"] = self.description
        if self.rotated:
            said["lastRotateDate"] = self.rotated
        if self.state == 5:
            said.update({"deletionDate": self.deleted, "restoreAllowed": True})
        if not self.extractable:
            said["keyVersion"] = {"id": self.versions[-1][0], "creationDate": self.created}
        return said


@dataclass
class Request:
    method: str
    path: str
    query: Dict[str, str]
    headers: Dict[str, str]
    body: bytes
    connection: int
    at: float = field(default_factory=time.monotonic)


@dataclass
class Answer:
    status: int
    body: bytes = b""
    headers: Dict[str, str] = field(default_factory=dict)
    type: str = KEY


@dataclass
class Fault:
    """What goes wrong with requests `METHOD /path` that the pattern is found in."""

    pattern: str
    times: int
    skip: int = 0  # so many are well before
    answer: Optional[Callable[[Answer], Answer]] = None  # in the place of what would be answered
    instead: Optional[Answer] = None  # without doing anything
    slow: float = 0
    close: str = ""  # "before" or "after" it is done; "middle" of the answer
    happened: int = 0


class KeyProtect:
    """`with KeyProtect(folder) as service:`"""

    def __init__(self, folder: Path) -> None:
        self.instance = str(uuid.uuid4())
        self.certificate: Certificate = self_signed(
            folder, "localhost", extensions=("subjectAltName=DNS:localhost",)
        )
        self.api_key = f"key-{uuid.uuid4().hex}+/="
        self.api_key_file = folder / "api-key"
        self.write_api_key(self.api_key)
        self.keys: Dict[str, Key] = {}
        self.requests: List[Request] = []
        self.faults: List[Fault] = []
        self.tokens: Dict[str, float] = {}  # token: until when
        self.token_lifetime = 3600
        self.clock_skew = 0.0
        self.token_paths = ["/identity/token", "/oidc/token"]
        self.latency = 0.0
        self.aad_works = True
        self.page_max = 5000
        self.search_max = 5000
        self.minimum_rotation = 0.0
        self.in_flight = self.in_flight_most = 0
        self.connections = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    # ---- For tests

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def write_api_key(self, key: str) -> None:
        self.api_key_file.write_text(key + "\n")
        self.api_key_file.chmod(0o600)

    def fault(self, pattern: str, times: int = 1, **how) -> Fault:
        made = Fault(pattern, times, **how)
        self.faults.append(made)
        return made

    def add_root_key(self, **how) -> Key:
        return self._add(Key(how.pop("name", "root"), False, **how))

    def _add(self, key: Key) -> Key:
        self.keys[key.id] = key
        return key

    def seen(self, pattern: str) -> List[Request]:
        return [r for r in self.requests if re.search(pattern, f"{r.method} {r.path}")]

    def rotate(self, key: Key, payload: Optional[bytes] = None) -> None:
        key.versions.append((str(uuid.uuid4()), payload or os.urandom(32)))
        key.rotated = now()

    # ---- The server

    def __enter__(self) -> "KeyProtect":
        self._thread.start()
        assert self._ready.wait(10), "the stand-in does not start"
        return self

    def __exit__(self, *_) -> None:
        self.stop()

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate.certificate, self.certificate.key)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "localhost", 0, ssl=context, backlog=1024, family=2)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        number = self.connections
        try:
            while await self._one(reader, writer, number):
                pass
        except (OSError, EOFError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _one(self, reader, writer, number: int) -> bool:
        request = await self._read(reader, number)
        if request is None:
            return False
        self.in_flight += 1
        self.in_flight_most = max(self.in_flight_most, self.in_flight)
        try:
            return await self._do(request, writer)
        finally:
            self.in_flight -= 1

    async def _read(self, reader, number: int) -> Optional[Request]:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        method, target, _ = head[0].split(" ")
        headers = {}
        for line in head[1:-2]:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        body = await reader.readexactly(int(headers.get("content-length", "0")))
        parts = urlsplit(target)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        return Request(method, unquote(parts.path), query, headers, body, number)

    def _fault_of(self, request: Request) -> Optional[Fault]:
        for fault in self.faults:
            if not re.search(fault.pattern, f"{request.method} {request.path}"):
                continue
            if fault.skip > 0:
                fault.skip -= 1
            elif fault.happened < fault.times:
                fault.happened += 1
                return fault
        return None

    async def _do(self, request: Request, writer) -> bool:
        self.requests.append(request)
        fault = self._fault_of(request)
        if self.latency or (fault and fault.slow):
            await asyncio.sleep(self.latency + (fault.slow if fault else 0))
        if fault and fault.close == "before":
            return False
        answer = fault.instead if fault and fault.instead else self._answer(request)
        if fault and fault.close == "after":
            return False
        if fault and fault.answer:
            answer = fault.answer(answer)
        await self._write(writer, answer, bool(fault and fault.close == "middle"))
        return not (fault and fault.close == "middle")

    async def _write(self, writer, answer: Answer, cut: bool) -> None:
        lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, 'Status')}"]
        if answer.body:
            lines.append(f"Content-Type: {answer.type}")
        if answer.status != 204:
            lines.append(f"Content-Length: {len(answer.body)}")
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        body = answer.body[: len(answer.body) // 2] if cut else answer.body
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await writer.drain()

    # ---- What is answered

    def _answer(self, request: Request) -> Answer:
        if request.path in ("/identity/token", "/oidc/token"):
            return self._token(request)
        try:
            self._authorize(request)
            return self._api(request)
        except Refused as refused:
            body = json.dumps(refused.body()).encode()
            return Answer(refused.status, body, type="application/json")

    def _token(self, request: Request) -> Answer:
        if request.path not in self.token_paths:
            return Answer(404, b"not here", type="text/html")
        form = parse_qs(request.body.decode())
        if form.get("apikey") != [self.api_key]:
            refusal = {
                "errorCode": "BXNIM0415E",
                "errorMessage": "Provided API key could not be found.",
                "context": {"requestId": "x"},
            }
            return Answer(400, json.dumps(refusal).encode(), type="application/json")
        issued = int(time.time() + self.clock_skew)
        claims = {"iat": issued, "exp": issued + self.token_lifetime, "jti": uuid.uuid4().hex}
        encoded = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
        token = f"eyJhbGciOiJSUzI1NiJ9.{encoded}.c2lnbmF0dXJl"
        self.tokens[token] = time.monotonic() + self.token_lifetime
        answer = {
            "access_token": token, "refresh_token": "not_supported", "token_type": "Bearer",
            "expires_in": self.token_lifetime, "expiration": claims["exp"], "scope": "ibm openid",
        }  # fmt: skip
        return Answer(200, json.dumps(answer).encode(), type="application/json;charset=utf-8")

    def _authorize(self, request: Request) -> None:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        known = self.tokens.get(token, 0) > time.monotonic()
        if scheme != "Bearer" or not known:
            raise Refused(
                401, "", "Unauthorized: The user does not have access to the specified resource"
            )
        if request.headers.get("bluemix-instance") != self.instance:
            raise Refused(
                401, "", "Unauthorized: The user does not have access to the specified resource"
            )

    def _api(self, request: Request) -> Answer:
        path = request.path[len("/api/v2") :]
        if path == "/keys":
            return {"GET": self._list, "POST": self._create}[request.method](request)
        match = re.fullmatch(r"/keys/([0-9a-f-]{36})(/[a-z/]+)?", path)
        key = self.keys.get(match.group(1)) if match else None
        if key is None:
            raise Refused(404, "KEY_NOT_FOUND_ERR", "Not Found: Key could not be retrieved")
        ring = request.headers.get("x-kms-key-ring")
        if ring is not None and ring != key.ring:
            raise Refused(404, "KEY_NOT_FOUND_ERR", "Not Found: Key could not be retrieved")
        action = f"{request.method} {match.group(2) or ''}".strip()
        return self.ACTIONS[action](self, key, request)

    @staticmethod
    def _keys(resources: List[dict], status: int = 200, **metadata) -> Answer:
        said = {"collectionType": KEY, "collectionTotal": len(resources), **metadata}
        body = {"metadata": said}
        if resources:
            body["resources"] = resources
        return Answer(status, json.dumps(body).encode())

    def _create(self, request: Request) -> Answer:
        said = json.loads(request.body)
        assert said["metadata"] == {"collectionType": KEY, "collectionTotal": 1}
        (resource,) = said["resources"]
        if not 2 <= len(resource["name"]) <= 90:
            raise Refused(400, "INVALID_FIELD_ERR", "name")
        payload = resource.get("payload")
        key = Key(
            resource["name"], resource["extractable"],
            base64.b64decode(payload, validate=True) if payload else None,
            resource.get("description"), request.headers.get("x-kms-key-ring", "default"),
        )  # fmt: skip
        assert key.description is None or 2 <= len(key.description) <= 240
        if not key.extractable and key.payload is not None and len(key.payload) not in (16, 24, 32):
            raise Refused(400, "INVALID_FIELD_ERR", "payload")
        return self._keys([self._add(key).metadata()], 201)

    def _list(self, request: Request) -> Answer:
        query = request.query
        states = [int(state) for state in query.get("state", "0,1,2,3").split(",")]
        ring = request.headers.get("x-kms-key-ring")
        found = [
            key for key in self.keys.values()
            if key.state in states and ring in (None, key.ring)
            and query.get("extractable") in (None, str(key.extractable).lower())
        ]  # fmt: skip
        if "search" in query:
            if len(found) > self.search_max:
                raise Refused(400, "KEY_SEARCH_TOO_BROAD", "Bad Request")
            found = [key for key in found if query["search"].lower() in key.name.lower()]
        found.sort(key=lambda key: key.id)
        if query.get("sort") == "-creationDate":
            found.reverse()
        limit = int(query.get("limit", "200"))
        if not 1 <= limit <= 5000:
            raise Refused(400, "INVALID_QUERY_PARAM_ERR", "limit")
        start = int(query.get("offset", "0"))
        page = found[start : start + min(limit, self.page_max)]
        return self._keys([key.metadata() for key in page])

    # ---- Keys

    def _get(self, key: Key, request: Request) -> Answer:
        said = key.metadata()
        if key.extractable and key.state != 5:
            said["payload"] = b64(key.versions[-1][1])
        return self._keys([said])

    def _metadata(self, key: Key, request: Request) -> Answer:
        return self._keys([key.metadata()])

    def _versions(self, key: Key, request: Request) -> Answer:
        if key.state != 1 and request.query.get("allKeyStates") != "true":
            raise Refused(409, "KEY_ACTION_INVALID_STATE_ERR", "Conflict")
        newest_first = [{"id": version, "creationDate": now()} for version, _ in key.versions[::-1]]
        total = {"totalCount": len(key.versions)} if request.query.get("totalCount") else {}
        return self._keys(newest_first[: int(request.query.get("limit", "200"))], **total)

    def _delete(self, key: Key, request: Request) -> Answer:
        if key.state == 5:
            raise Refused(410, "KEY_DELETED_ERR", "Gone: Key has already been deleted")
        key.state, key.deleted = 5, now()
        return Answer(204)

    def _restore(self, key: Key, request: Request) -> Answer:
        if key.state != 5:
            raise Refused(409, "KEY_ACTION_INVALID_STATE_ERR", "Conflict")
        key.state = 1
        return self._keys([key.metadata()], 201)

    def _purge(self, key: Key, request: Request) -> Answer:
        if key.state != 5:
            raise Refused(409, "KEY_ACTION_INVALID_STATE_ERR", "Conflict")
        del self.keys[key.id]
        return Answer(204)

    def _set_state(self, key: Key, wanted: int) -> Answer:
        if key.state != 3 - wanted:
            raise Refused(409, "KEY_ACTION_INVALID_STATE_ERR", "Conflict")
        key.state = wanted
        return Answer(204)

    def _disable(self, key: Key, request: Request) -> Answer:
        return self._set_state(key, 2)

    def _enable(self, key: Key, request: Request) -> Answer:
        return self._set_state(key, 1)

    def _rotate(self, key: Key, request: Request) -> Answer:
        self._need(key, 1, 3)
        said = json.loads(request.body) if request.body else {}
        if key.payload is not None and "payload" not in said:
            raise Refused(400, "KEY_PAYLOAD_REQ_ERR", "Bad Request")
        if key.rotated and self.minimum_rotation:
            raise Refused(409, "KEY_ROTATION_NOT_PERMITTED", "Conflict")
        self.rotate(key, base64.b64decode(said["payload"]) if "payload" in said else None)
        return Answer(204)

    # ---- Wrapping

    @staticmethod
    def _need(key: Key, *states: int) -> None:
        if key.extractable:
            raise Refused(400, "KEY_ROOT_REQ_ERR", "Bad Request")
        if key.state == 5:
            raise Refused(410, "KEY_DELETED_ERR", "Gone: Key has already been deleted")
        if key.state not in states:
            raise Refused(
                409, "KEY_ACTION_INVALID_STATE_ERR", "Conflict: Key is not in a valid state"
            )

    def _aad(self, said: dict) -> bytes:
        assert all(len(text) <= 255 for text in said.get("aad", []))
        return json.dumps(said.get("aad", [])).encode() if self.aad_works else b""

    @staticmethod
    def _outer(sealed: str, nonce: str, version: str) -> str:
        outer = {"ciphertext": sealed, "iv": nonce, "version": "4.0.0", "handle": version}
        return b64(json.dumps(outer).encode())

    def _seal(self, key: Key, plaintext: bytes, said: dict) -> dict:
        version, material = key.versions[-1]
        nonce = os.urandom(12)
        sealed = AESGCM(hashlib.sha256(material).digest()).encrypt(
            nonce, plaintext, self._aad(said)
        )
        return {
            "ciphertext": self._outer(b64(sealed), b64(nonce), version),
            "keyVersion": {"id": version},
        }

    def _open(self, key: Key, said: dict) -> Tuple[str, bytes]:
        try:
            text = base64.b64decode(said["ciphertext"], validate=True)
            outer = json.loads(text)
            material = dict(key.versions)[outer["handle"]]
            if self._outer(outer["ciphertext"], outer["iv"], outer["handle"]) != said["ciphertext"]:
                raise ValueError("changed")
        except (ValueError, KeyError, TypeError):
            raise Refused(422, "UNPROCESSABLE_CIPHERTEXT_ERR", "Unprocessable") from None
        cipher = AESGCM(hashlib.sha256(material).digest())
        try:
            sealed, nonce = (
                base64.b64decode(outer[name], validate=True) for name in ("ciphertext", "iv")
            )
            return outer["handle"], cipher.decrypt(nonce, sealed, self._aad(said))
        except (InvalidTag, ValueError):
            raise Refused(400, "INVALID_FIELD_ERR", "Bad Request: ciphertext") from None

    def _wrap(self, key: Key, request: Request) -> Answer:
        self._need(key, 1)
        said = json.loads(request.body)
        return Answer(
            200, json.dumps(self._seal(key, base64.b64decode(said["plaintext"]), said)).encode()
        )

    def _unwrap(self, key: Key, request: Request) -> Answer:
        self._need(key, 1, 3)
        said = json.loads(request.body)
        version, plaintext = self._open(key, said)
        answer = {"plaintext": b64(plaintext), "keyVersion": {"id": version}}
        if version != key.versions[-1][0]:
            newer = self._seal(key, plaintext, said)
            answer.update(ciphertext=newer["ciphertext"], rewrappedKeyVersion=newer["keyVersion"])
        return Answer(200, json.dumps(answer).encode())

    def _rewrap(self, key: Key, request: Request) -> Answer:
        self._need(key, 1, 3)
        said = json.loads(request.body)
        version, plaintext = self._open(key, said)
        newer = self._seal(key, plaintext, said)
        answer = {
            "ciphertext": newer["ciphertext"], "keyVersion": {"id": version},
            "rewrappedKeyVersion": newer["keyVersion"],
        }  # fmt: skip
        return Answer(200, json.dumps(answer).encode())

    ACTIONS = {
        "GET": _get,
        "GET /metadata": _metadata,
        "GET /versions": _versions,
        "DELETE": _delete,
        "DELETE /purge": _purge,
        "POST /restore": _restore,
        "POST /actions/disable": _disable,
        "POST /actions/enable": _enable,
        "POST /actions/rotate": _rotate,
        "POST /actions/wrap": _wrap,
        "POST /actions/unwrap": _unwrap,
        "POST /actions/rewrap": _rewrap,
    }
