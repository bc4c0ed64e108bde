# SPDX-License-Identifier: Apache-2.0
"""Tenants by the administration API alone: made, used by a KMIP client, watched and taken away."""

import pytest

from tests.support.api import Api, envelope, new_key
from tests.support.certificates import self_signed
from tests.support.message import ask, create, do
from tests.support.server import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("adapters") / "state", admin=True) as running:
        yield running


@pytest.fixture(scope="module")
def api(server):
    with Api(server) as client:
        yield client


def make_adapter(api: Api, name: str) -> dict:
    root_key = api.call("POST", "/keys", new_key(f"of {name}"))
    assert root_key.status == 201, root_key
    profile = {"profile": "native_1.0", "profile_data": {"crk_id": root_key.resource["id"]}}
    made = api.call("POST", "/kmip_adapters", envelope("kmip_adapter", {"name": name, **profile}))
    assert made.status == 201, made
    return made.resource


def let_in(api: Api, adapter: str, pem: str) -> dict:
    body = envelope("kmip_client_certificate", {"certificate": pem})
    made = api.call("POST", f"/kmip_adapters/{adapter}/certificates", body)
    assert made.status == 201, made
    return made.resource


def states(api: Api, adapter: str, query: str = "") -> dict:
    listed = api.call("GET", f"/kmip_adapters/{adapter}/kmip_objects{query}")
    assert listed.status == 200, listed
    return {one["id"]: one["state"] for one in listed.body["resources"]}


def test_a_tenant_from_beginning_to_end(server, api, tmp_path):
    made = self_signed(tmp_path, "vcenter")
    context = server.context(made.certificate, made.key)
    adapter = make_adapter(api, "tenant")
    with server.connect(context) as client:
        ask(client, create()).only().failed("AuthenticationNotSuccessful")
    certificate = let_in(api, adapter["id"], made.certificate.read_text())
    with server.connect(context) as client:
        key = ask(client, create()).only().succeeded().id
        do(client, "Activate", ("UniqueIdentifier", key)).succeeded()
        do(client, "Get", ("UniqueIdentifier", key)).succeeded()
        assert states(api, "tenant") == {key: 2}
        assert states(api, "default") == {}

        place = f"/kmip_adapters/tenant/kmip_objects/{key}"
        assert api.call("DELETE", "/kmip_adapters/tenant").code == "KMIP_ADAPTER_NOT_EMPTY_ERR"
        assert api.call("DELETE", place).code == "KMIP_OBJECT_ACTIVE_ERR"
        do(client, "Get", ("UniqueIdentifier", key)).succeeded()
        assert api.call("DELETE", f"{place}?force=true").status == 204
        do(client, "Get", ("UniqueIdentifier", key)).failed()
        assert states(api, "tenant") == {}
        assert states(api, "tenant", "?state=5") == {key: 5}
        assert api.call("DELETE", place).status == 410

        gone = f"/kmip_adapters/{adapter['id']}/certificates/{certificate['name']}"
        assert api.call("DELETE", gone).status == 204
        ask(client, create()).only().failed("AuthenticationNotSuccessful")
    assert api.call("DELETE", "/kmip_adapters/tenant").status == 204
    assert api.call("GET", "/kmip_adapters/tenant").code == "KMIP_ADAPTER_NOT_FOUND_ERR"


def test_both_ways_see_the_same(server, api, tmp_path):
    """What kmipctl made before is in the API, and the other way round."""
    made = self_signed(tmp_path, "other")
    server.ctl("adapter", "create", "from-kmipctl")
    server.ctl("cert", "add", made.certificate, "--name", "other", "--adapter", "from-kmipctl")
    adapter = api.call("GET", "/kmip_adapters/from-kmipctl").resource
    assert adapter["created_at"] == adapter["updated_at"]
    assert adapter["created_by"] and adapter["updated_by"]
    certificate = api.call("GET", "/kmip_adapters/from-kmipctl/certificates/other").resource
    assert certificate["certificate"].strip() == made.certificate.read_text().strip()
    key = api.call("GET", f"/keys/{adapter['profile_data']['crk_id']}").resource
    assert key["state"] == 1 and key["extractable"] is False
    make_adapter(api, "from-api")
    names = {one["name"] for one in server.ctl_json("adapter", "list")["adapters"]}
    assert {"default", "from-kmipctl", "from-api"} <= names


def test_after_a_restart_all_is_there(server, api):
    adapter = make_adapter(api, "kept")
    server.restart()
    with Api(server) as again:
        assert again.call("GET", "/kmip_adapters/kept").resource == adapter
