# SPDX-License-Identifier: Apache-2.0
"""The KMIP adapters of the administration API, and kmipctl by both of its ways."""

import json
import os
import re
import subprocess
import uuid

import pytest

from tests.support.api import Api, envelope, new_key
from tests.support.certificates import self_signed
from tests.support.message import ask, create, do
from tests.support.paths import program
from tests.support.server import Server

ADAPTERS = "/kmip_adapters"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("adapters") / "state", admin=True) as started:
        yield started


@pytest.fixture(scope="module")
def api(server):
    with Api(server) as client:
        yield client


@pytest.fixture(scope="module")
def root_key(api):
    return api.call("POST", "/keys", new_key("for adapters")).resource["id"]


def adapter_body(crk_id, **fields):
    fields = {"profile": "native_1.0", "profile_data": {"crk_id": crk_id}, **fields}
    return envelope("kmip_adapter", fields)


@pytest.fixture
def adapter(api, root_key):
    name = f"a_{uuid.uuid4().hex[:8]}"
    made = api.call("POST", ADAPTERS, adapter_body(root_key, name=name))
    assert made.status == 201
    return made.resource


def test_life(api, root_key, adapter):
    path = f"{ADAPTERS}/{adapter['name']}"
    assert api.call("GET", path).resource == adapter
    assert api.call("GET", f"{ADAPTERS}/{adapter['id']}").resource == adapter
    assert adapter["profile"] == "native_1.0" and adapter["description"] == ""
    assert adapter["profile_data"]["crk_id"] == root_key
    for field in ("created_by", "created_at", "updated_by", "updated_at"):
        assert adapter[field]
    assert adapter["created_by"].startswith("iam-ServiceId-")
    listed = api.call("GET", f"{ADAPTERS}?crk_id={root_key}&limit=200&totalCount=True").body
    assert adapter in listed["resources"]
    assert listed["metadata"]["totalCount"] == len(listed["resources"])
    assert len(api.call("GET", f"{ADAPTERS}?limit=1").body["resources"]) == 1
    assert api.call("DELETE", path).status == 204
    gone = api.call("GET", path)
    assert (gone.status, gone.code) == (404, "KMIP_ADAPTER_NOT_FOUND_ERR")


def test_names_are_made_up(api, root_key):
    made = api.call("POST", ADAPTERS, adapter_body(root_key, description="of a test")).resource
    assert re.fullmatch("kmip_adapter_[0-9a-f]+", made["name"])
    assert made["description"] == "of a test"


@pytest.mark.parametrize(
    "fields, status, code",
    [
        ({"name": "x"}, 400, "INVALID_FIELD_ERR"),
        ({"name": "a b"}, 400, "INVALID_FIELD_ERR"),
        ({"name": "x" * 41}, 400, "INVALID_FIELD_ERR"),
        ({"name": UNKNOWN}, 400, "INVALID_FIELD_ERR"),
        ({"name": 7}, 400, "INVALID_FIELD_ERR"),
        ({"description": "x"}, 400, "INVALID_FIELD_ERR"),
        ({"description": "x" * 241}, 400, "INVALID_FIELD_ERR"),
        ({"profile": "native_2.0"}, 400, "INVALID_FIELD_ERR"),
        ({"profile_data": {}}, 400, "INVALID_FIELD_ERR"),
        ({"profile_data": {"crk_id": UNKNOWN}}, 400, "NATIVE_CRK_ID_NOT_FOUND_ERR"),
    ],
)
def test_refused_adapters(api, root_key, fields, status, code):
    answer = api.call("POST", ADAPTERS, adapter_body(root_key, **fields))
    assert (answer.status, answer.code) == (status, code)


def test_duplicate_name(api, root_key, adapter):
    answer = api.call("POST", ADAPTERS, adapter_body(root_key, name=adapter["name"]))
    assert (answer.status, answer.code) == (409, "KMIP_ADAPTER_DUPLICATE_NAME_ERR")


def test_root_keys_that_will_not_do(api):
    standard = api.call("POST", "/keys", new_key("standard", extractable=True)).resource["id"]
    answer = api.call("POST", ADAPTERS, adapter_body(standard))
    assert (answer.status, answer.code) == (400, "NATIVE_INVALID_CRK_ERR")
    date = "2099-01-01T00:00:00Z"
    expiring = api.call("POST", "/keys", new_key("expiring", expirationDate=date)).resource["id"]
    answer = api.call("POST", ADAPTERS, adapter_body(expiring))
    assert (answer.status, answer.code) == (400, "NATIVE_INVALID_CRK_ERR")
    assert api.call("POST", f"{ADAPTERS}?allowExpiringKey=true",
                    adapter_body(expiring)).status == 201  # fmt: skip


def test_root_key_by_alias(api, root_key):
    alias = f"alias-{uuid.uuid4().hex[:8]}"
    assert api.call("POST", f"/keys/{root_key}/aliases/{alias}").status == 201
    made = api.call("POST", ADAPTERS, adapter_body(alias)).resource
    assert made["profile_data"]["crk_id"] == root_key
    listed = api.call("GET", f"{ADAPTERS}?crk_id={alias}&limit=200").body["resources"]
    assert made in listed


def certificate_body(pem, **fields):
    return envelope("kmip_client_certificate", {"certificate": pem, **fields})


def test_certificates(api, adapter, tmp_path):
    path = f"{ADAPTERS}/{adapter['name']}/certificates"
    pem = self_signed(tmp_path, "client").certificate.read_text()
    added = api.call("POST", path, certificate_body(pem, name="vcenter"))
    assert added.status == 201
    assert added.resource["certificate"].split() == pem.split()
    for one in ("vcenter", added.resource["id"]):
        assert api.call("GET", f"{path}/{one}").resource == added.resource
    (listed,) = api.call("GET", path).body["resources"]
    assert "certificate" not in listed and listed["name"] == "vcenter"
    again = api.call("POST", path, certificate_body(pem))
    assert (again.status, again.code) == (409, "KMIP_CERT_DUPLICATE_ERR")
    (tmp_path / "other").mkdir()
    other = self_signed(tmp_path / "other", "other").certificate.read_text()
    again = api.call("POST", path, certificate_body(other, name="vcenter"))
    assert (again.status, again.code) == (409, "KMIP_CERT_DUPLICATE_NAME_ERR")
    auto = api.call("POST", path, certificate_body(f"\n {other}\n\n")).resource
    assert re.fullmatch("kmip_cert_[0-9a-f]+", auto["name"])
    assert api.call("DELETE", f"{path}/vcenter").status == 204
    gone = api.call("GET", f"{path}/vcenter")
    assert (gone.status, gone.code) == (404, "KMIP_CERT_NOT_FOUND_ERR")
    for wrong in ("", "nonsense", pem + pem, "x" + pem):
        refused = api.call("POST", path, certificate_body(wrong))
        assert (refused.status, refused.code) == (400, "INVALID_FIELD_ERR")


def test_objects(server, api, adapter, tmp_path):
    path = f"{ADAPTERS}/{adapter['id']}"
    made = self_signed(tmp_path, "client")
    api.call("POST", f"{path}/certificates", certificate_body(made.certificate.read_text()))
    context = server.context(tmp_path / "client.pem", tmp_path / "client.key")
    with server.connect(context) as client:
        pre_active, active = (ask(client, create()).only().succeeded().id for _ in range(2))
        do(client, "Activate", ("UniqueIdentifier", active)).succeeded()
    objects = f"{path}/kmip_objects"

    def listed(query=""):
        return [row["id"] for row in api.call("GET", objects + query).body["resources"]]

    assert listed() == [pre_active, active]
    assert listed("?state=2") == [active] and listed("?state=1,2&offset=1") == [active]
    assert listed("?state=1&state=2&limit=1") == [pre_active]
    assert api.call("GET", f"{objects}?totalCount=true&limit=1").body["metadata"]["totalCount"] == 2
    assert api.call("GET", f"{objects}?state=7").status == 400
    shown = api.call("GET", f"{objects}/{active}").resource
    assert shown["kmip_object_type"] == 2 and shown["state"] == 2 and shown["created_at"]
    refused = api.call("DELETE", path)
    assert (refused.status, refused.code) == (409, "KMIP_ADAPTER_NOT_EMPTY_ERR")
    refused = api.call("DELETE", f"{objects}/{active}")
    assert (refused.status, refused.code) == (409, "KMIP_OBJECT_ACTIVE_ERR")
    assert api.call("DELETE", f"{objects}/{active}?force=true").status == 204
    assert api.call("DELETE", f"{objects}/{active}?force=true").status == 410
    assert api.call("DELETE", f"{objects}/{pre_active}").status == 204
    assert api.call("GET", f"{objects}/{UNKNOWN}").code == "KMIP_OBJECT_NOT_FOUND_ERR"
    assert listed() == [] and len(listed("?state=5")) + len(listed("?state=6")) == 2
    assert api.call("DELETE", path).status == 204


def test_a_tenant_by_the_api_alone(server, api, adapter, tmp_path):
    """Let in, a client makes and reads a key; each thing taken away is gone for it at once."""
    path = f"{ADAPTERS}/{adapter['name']}"
    made = self_signed(tmp_path, "client")
    context = server.context(made.certificate, made.key)
    with server.connect(context) as client:
        ask(client, create()).only().failed("AuthenticationNotSuccessful")
    body = certificate_body(made.certificate.read_text(), name="client")
    assert api.call("POST", f"{path}/certificates", body).status == 201
    with server.connect(context) as client:
        key = ask(client, create()).only().succeeded().id
        do(client, "Activate", ("UniqueIdentifier", key)).succeeded()
        do(client, "Get", ("UniqueIdentifier", key)).succeeded()
        (listed,) = api.call("GET", f"{path}/kmip_objects").body["resources"]
        assert (listed["id"], listed["state"]) == (key, 2)
        assert api.call("DELETE", f"{path}/kmip_objects/{key}?force=true").status == 204
        do(client, "Get", ("UniqueIdentifier", key)).failed("ItemNotFound")
        assert api.call("GET", f"{path}/kmip_objects").body["resources"] == []
        assert api.call("DELETE", f"{path}/certificates/client").status == 204
        ask(client, create()).only().failed("AuthenticationNotSuccessful")
    assert api.call("DELETE", path).status == 204


def test_what_kmipctl_has_made(server, api, tmp_path):
    made = self_signed(tmp_path, "client")
    server.ctl("adapter", "create", "from-kmipctl")
    server.ctl("cert", "add", made.certificate, "--name", "client", "--adapter", "from-kmipctl")
    adapter = api.call("GET", f"{ADAPTERS}/from-kmipctl").resource
    assert adapter["created_by"] and adapter["updated_by"] and adapter["updated_at"]
    certificate = api.call("GET", f"{ADAPTERS}/from-kmipctl/certificates/client").resource
    assert certificate["certificate"].split() == made.certificate.read_text().split()


def test_rights_for_one_adapter(server, api, adapter):
    name = f"s-{uuid.uuid4().hex[:8]}"
    server.ctl("service-id", "create", name)
    server.ctl("service-id", "grant", name, "KmipAdapterManager", "--for-adapter", adapter["name"])
    key = server.ctl("api-key", "create", name, "one").stdout.strip()
    with Api(server, key) as limited:
        assert limited.call("GET", f"{ADAPTERS}/{adapter['id']}").status == 200
        assert limited.call("GET", f"{ADAPTERS}/default").status == 401
        assert limited.call("GET", f"{ADAPTERS}/nobody").status == 401
        listed = limited.call("GET", ADAPTERS).body["resources"]
        assert [row["id"] for row in listed] == [adapter["id"]]
        assert limited.call("POST", "/kmipd/adapter/show", {"name": adapter["id"]}).status == 200
        assert limited.call("POST", "/kmipd/adapter/show", {"name": "default"}).status == 401
        assert limited.call("POST", "/kmipd/adapter/list", {}).status == 401
        server.ctl("service-id", "delete", name, "--yes")
        assert limited.call("GET", f"{ADAPTERS}/{adapter['id']}").status == 401


# kmipctl, by the socket and over HTTPS


@pytest.fixture(params=["socket", "https"])
def kmipctl(request, server, api, tmp_path):
    key = tmp_path / "api-key"
    key.write_text(api.api_key + "\n")
    key.chmod(0o600)
    way = ("--state", server.state)
    if request.param == "https":
        way = ("--url", api.url, "--api-key-file", key, "--ca-file", server.ca)

    def run(*arguments, check=True):
        done = subprocess.run(
            [program("kmipctl"), *map(str, way), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            universal_newlines=True,
            timeout=90,
        )
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    return run


def test_commands_by_both_ways(kmipctl, tmp_path):
    name, other = (f"{word}-{uuid.uuid4().hex[:8]}" for word in ("one", "two"))
    assert "Administration" in kmipctl("status").stdout
    kmipctl("root-key", "create", "--name", name)
    kmipctl("adapter", "create", name, "--root-key", name)
    assert name in kmipctl("adapter", "show", name).stdout
    kmipctl("cert", "issue", name, "--adapter", name, "--out", tmp_path)
    made = kmipctl("object", "create", "--adapter", name).stdout.strip()
    shown = kmipctl("object", "show", made, "--adapter", name).stdout
    assert "Root key version" in shown
    refused = kmipctl("root-key", "delete", name, "--yes", check=False)
    assert refused.returncode == 1 and "adapter move" in refused.stderr
    kmipctl("root-key", "create", "--name", other)
    moved = kmipctl("adapter", "move", name, "--root-key", other, "--wait")
    assert "1 of 1" in moved.stderr
    kmipctl("root-key", "rotate", other, "--wait")
    assert "done" in kmipctl("adapter", "progress", name).stdout
    kmipctl("root-key", "disable", other)
    kmipctl("root-key", "enable", other)
    spare = f"spare-{uuid.uuid4().hex[:8]}"
    kmipctl("root-key", "create", "--name", spare)
    kmipctl("root-key", "delete", spare, "--yes")
    kmipctl("root-key", "restore", spare)
    refused = kmipctl("root-key", "delete", spare, "--force", "--yes-i-mean", "bogus", check=False)
    assert refused.returncode == 1 and "--yes-i-mean" in refused.stderr
    kmipctl("root-key", "delete", spare, "--force", "--yes-i-mean", spare)
    assert other in kmipctl("root-key", "list").stdout
    assert "sealed-file" in kmipctl("key-manager", "list").stdout
    assert "well" in kmipctl("key-manager", "check", "sealed-file").stdout
    refused = kmipctl("adapter", "rebuild", "--key-manager", "sealed-file", check=False)
    assert refused.returncode == 1 and "no records" in refused.stderr
    kmipctl("object", "destroy", made, "--adapter", name, "--yes")
    kmipctl("adapter", "delete", name, "--yes")


def test_imported_material_is_nowhere(kmipctl, server, tmp_path):
    name = f"imported-{uuid.uuid4().hex[:8]}"
    material = tmp_path / "material"
    text = subprocess.run(["openssl", "rand", "-base64", "32"], stdout=subprocess.PIPE,
                          universal_newlines=True).stdout.strip()  # fmt: skip
    material.write_text(text + "\n")
    material.chmod(0o644)
    assert kmipctl("root-key", "import", material, check=False).returncode == 1
    material.chmod(0o600)
    kmipctl("root-key", "import", material, "--name", name)
    assert kmipctl("root-key", "rotate", name, check=False).returncode == 1
    kmipctl("root-key", "rotate", name, "--file", material)
    shown = kmipctl("root-key", "show", name).stdout
    assert re.search(r"Version: +2\n", shown) and re.search(r"Imported: +yes\n", shown)
    for path in [server.log_path, *(server.state / "audit").iterdir()]:
        assert text not in path.read_text(errors="replace")


def test_service_ids_by_both_ways(kmipctl):
    name = f"ci-{uuid.uuid4().hex[:8]}"
    kmipctl("service-id", "create", name, "--description", "of a test")
    kmipctl("service-id", "grant", name, "Reader", "--key-ring", "default")
    shown = kmipctl("service-id", "show", name).stdout
    assert "Reader for key ring default" in shown
    assert kmipctl("service-id", "grant", name, "Bogus", check=False).returncode == 1
    key = kmipctl("api-key", "create", name, "one").stdout
    assert len(key.strip()) > 40
    assert key.strip() not in kmipctl("api-key", "list", name).stdout
    kmipctl("api-key", "delete", name, "one", "--yes")
    kmipctl("service-id", "revoke", name, "Reader", "--key-ring", "default")
    assert name in kmipctl("service-id", "list").stdout
    kmipctl("service-id", "delete", name, "--yes")


def test_the_audit_log_by_both_ways(server, api, kmipctl):
    name = f"logged-{uuid.uuid4().hex[:8]}"
    kmipctl("root-key", "create", "--name", name)

    def tail(run):
        text = run("audit", "tail", "--count", "500", "--json").stdout
        return [json.loads(line) for line in text.splitlines()]

    here = tail(server.ctl)
    records = {record["seq"]: record for record in tail(kmipctl)}
    common = [record for record in here if record["seq"] in records]
    assert common and all(record == records[record["seq"]] for record in common)
    assert any(record["operation"] == "root-key create" for record in common)
    assert "root-key create" in kmipctl("audit", "tail").stdout
    assert len(kmipctl("audit", "tail", "--count", "1", "--json").stdout.splitlines()) == 1
    report = json.loads(kmipctl("audit", "verify", "--json").stdout)
    assert report["whole"] and report["end_compared"]
    assert report["last"] >= here[-1]["seq"] and len(report["last_chain"]) == 64
    assert "whole" in kmipctl("audit", "verify").stdout


def elsewhere(server, api, api_key, tmp_path, *arguments):
    """kmipctl over HTTPS with an API key of its own."""
    key = tmp_path / "its-key"
    key.write_text(api_key + "\n")
    key.chmod(0o600)
    way = ("--url", api.url, "--api-key-file", key, "--ca-file", server.ca)
    return subprocess.run([program("kmipctl"), *map(str, way), *map(str, arguments)],
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, universal_newlines=True, timeout=90)  # fmt: skip


@pytest.mark.parametrize("role, code", [("Reader", 1), ("Manager", 0), ("Administrator", 0)])
def test_who_sees_the_audit_log(server, api, tmp_path, role, code):
    name = f"auditor-{uuid.uuid4().hex[:8]}"
    server.ctl("service-id", "create", name)
    server.ctl("service-id", "grant", name, role)
    api_key = server.ctl("api-key", "create", name, "one").stdout.strip()
    for command in ("tail", "verify"):
        done = elsewhere(server, api, api_key, tmp_path, "audit", command)
        assert done.returncode == code, done.stderr
        assert bool(done.stdout) == (code == 0)


@pytest.mark.parametrize(
    "arguments, code, said",
    [
        (("tail", "--follow"), 2, "--follow is for the files of this machine"),
        (("tail", "--directory", "/tmp"), 2, "--directory is for the files of this machine"),
        (("verify", "--directory", "/tmp"), 2, "--directory is for the files of this machine"),
        (("tail", "--count", "1001"), 1, "at most 1000"),
    ],
)
def test_what_is_not_done_elsewhere(server, api, tmp_path, arguments, code, said):
    done = elsewhere(server, api, api.api_key, tmp_path, "audit", *arguments)
    assert done.returncode == code and said in done.stderr and done.stdout == ""


def test_who_is_not_let_in(server, api, tmp_path):
    key = tmp_path / "key"
    key.write_text("bogus\n")
    key.chmod(0o600)
    way = [program("kmipctl"), "--url", api.url, "--api-key-file", key]
    cases = [
        ([*way, "--ca-file", server.ca, "status"], "API key"),
        ([*way, "status"], "cannot reach"),  # its authority is nobody's
    ]
    key_for_all = tmp_path / "open"
    key_for_all.write_text(api.api_key)
    key_for_all.chmod(0o644)
    cases.append(
        ([program("kmipctl"), "--url", api.url, "--api-key-file", key_for_all,
          "--ca-file", server.ca, "status"], str(key_for_all))
    )  # fmt: skip
    for command, said in cases:
        done = subprocess.run([*map(str, command)], stderr=subprocess.PIPE, timeout=60,
                              universal_newlines=True, env={**os.environ})  # fmt: skip
        assert done.returncode == 3 and said in done.stderr
