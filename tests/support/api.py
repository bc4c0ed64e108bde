# SPDX-License-Identifier: Apache-2.0
"""The administration API over HTTPS, as a client of it that knows nothing but HTTP and JSON."""

import http.client
import json
import re
import ssl
import time
import urllib.parse
from typing import Any, Dict, NamedTuple, Optional

TIMEOUT = 60.0


class Answer(NamedTuple):
    status: int
    body: Any  # parsed JSON, or None
    headers: Dict[str, str]  # names in lower case

    @property
    def resource(self) -> dict:
        """The only resource of the envelope."""
        assert self.body["metadata"]["collectionTotal"] == len(self.body["resources"]) == 1
        return self.body["resources"][0]

    @property
    def code(self) -> str:
        """The code of the only reason of an error."""
        return self.body["resources"][0]["reasons"][0]["code"]


class Api:
    """One connection with the rights of one API key; the first one's unless told otherwise."""

    def __init__(self, server, api_key: Optional[str] = None):
        self.address = (server.host, server.admin_port)
        self.url = f"https://localhost:{server.admin_port}"
        self.context = ssl.create_default_context(cafile=str(server.ca))
        self.instance, first = printed_at_first_start(server)
        self.api_key = api_key or first
        self.connection: Optional[http.client.HTTPSConnection] = None
        self.token: Optional[str] = None

    def __enter__(self) -> "Api":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        if self.connection is not None:
            self.connection.close()
        self.connection = None

    def send(self, method: str, path: str, body: bytes = b"", headers=None) -> Answer:
        """A request as it is."""
        if self.connection is None:
            self.connection = http.client.HTTPSConnection(
                "localhost", self.address[1], context=self.context, timeout=TIMEOUT
            )
        try:
            self.connection.request(method, path, body=body or None, headers=headers or {})
            answer = self.connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        parsed = json.loads(content) if content else None
        return Answer(answer.status, parsed, {k.lower(): v for k, v in answer.getheaders()})

    def login(self, api_key: Optional[str] = None, path: str = "/identity/token") -> Answer:
        """Asks for a token; remembers it when there is one."""
        form = urllib.parse.urlencode(
            {
                "grant_type": "urn:ibm:params:oauth:grant-type:apikey",
                "apikey": api_key or self.api_key,
            }
        )
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self.send("POST", path, form.encode(), headers)
        if answer.status == 200:
            self.token = answer.body["access_token"]
        return answer

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        """A request below /api/v2 with token and instance; '_' in the name of a header is '-'."""
        if self.token is None:
            assert self.login().status == 200
        sent = {"Authorization": f"Bearer {self.token}", "Bluemix-Instance": self.instance}
        sent.update({name.replace("_", "-"): value for name, value in headers.items()})
        content = b"" if body is None else json.dumps(body).encode()
        return self.send(method, f"/api/v2{path}", content, sent)


def envelope(kind: str, *resources: dict) -> dict:
    """Resources as requests and answers carry them."""
    return {
        "metadata": {
            "collectionType": f"application/vnd.ibm.kms.{kind}+json",
            "collectionTotal": len(resources),
        },
        "resources": list(resources),
    }


def new_key(name: str, extractable: bool = False, **fields) -> dict:
    """The body of a request that makes a key."""
    return envelope(
        "key",
        {"type": "application/vnd.ibm.kms.key+json", "name": name, "extractable": extractable,
         **fields},
    )  # fmt: skip


def printed_at_first_start(server):
    """The instance's GUID and the first API key, from what the first start prints once."""
    end = time.monotonic() + 30  # it is printed after the server has begun to accept
    while True:
        printed = server.log_path.read_text(errors="replace")
        instance = re.search(r"Instance +([0-9a-f-]{36})\n", printed)
        api_key = re.search(r"API key +(\S{40,})\n", printed)
        if instance and api_key:
            return instance.group(1), api_key.group(1)
        assert time.monotonic() < end, f"the first start prints no API key\n{printed[-4000:]}"
        time.sleep(0.02)
