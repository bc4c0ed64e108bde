# SPDX-License-Identifier: Apache-2.0
"""IBM's own clients against the served API: every operation they have, over real TLS."""

import base64
import os

import pytest

from tests.support.api import Api, envelope, new_key
from tests.support.certificates import self_signed
from tests.support.npm import NodeClient, need_client
from tests.support.server import Server

KEY = "application/vnd.ibm.kms.key+json"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("ibm") / "state", admin=True) as running:
        yield running


@pytest.fixture(scope="module")
def api(server):
    with Api(server) as client:
        yield client


class KeyProtect:
    """@ibm-cloud/ibm-key-protect, with the parameters that every operation takes."""

    def __init__(self, client: NodeClient, instance: str):
        self.client = client
        self.instance = instance

    def ask(self, operation: str, **parameters) -> dict:
        return self.client.ask(
            {
                "operation": operation,
                "parameters": {"bluemixInstance": self.instance, **parameters},
            }
        )

    def good(self, operation: str, status: int, **parameters):
        answer = self.ask(operation, **parameters)
        assert answer["ok"] and answer["status"] == status, (operation, answer)
        return answer["result"]

    def one(self, operation: str, status: int, **parameters) -> dict:
        result = self.good(operation, status, **parameters)
        assert result["metadata"]["collectionTotal"] == len(result["resources"]) == 1
        return result["resources"][0]

    def refused(self, operation: str, status: int, code: str, **parameters) -> None:
        answer = self.ask(operation, **parameters)
        assert not answer["ok"] and answer["status"] == status, (operation, answer)
        assert code in str(answer["body"]), (operation, answer)

    def make_key(self, name: str, extractable: bool = False, **fields) -> dict:
        return self.one("createKey", 201, body=new_key(name, extractable, **fields),
                        prefer="return=representation")  # fmt: skip


@pytest.fixture(scope="module")
def key_protect(server, api):
    place = need_client("key-protect")
    with NodeClient(place, server.ca, {"url": api.url, "apikey": api.api_key}) as client:
        yield KeyProtect(client, api.instance)


# ---- @ibm-cloud/ibm-key-protect: keys ----


def test_a_root_key_from_making_to_deleting(key_protect):
    key = key_protect.make_key("root key", description="of a test", tags=["a", "b"])
    assert key["extractable"] is False and key["state"] == 1 and "payload" not in key
    assert key["name"] == "root key" and key["description"] == "of a test"
    assert len(key["crn"].split(":")) >= 8
    read = key_protect.one("getKey", 200, id=key["id"])
    assert read["id"] == key["id"] and "payload" not in read
    assert read["keyVersion"]["id"] == key["id"]
    assert key_protect.one("getKeyMetadata", 200, id=key["id"])["name"] == "root key"
    gone = key_protect.one("deleteKey", 200, id=key["id"], prefer="return=representation")
    assert gone["state"] == 5 and gone["deleted"] is True
    key_protect.refused("deleteKey", 410, "KEY_DELETED_ERR", id=key["id"])
    assert key_protect.one("getKey", 200, id=key["id"])["state"] == 5


def test_a_standard_key_gives_its_payload_back(key_protect):
    payload = base64.b64encode(os.urandom(100)).decode()
    key = key_protect.make_key("standard key", True, payload=payload)
    assert key["payload"] == payload and key["imported"] is True
    assert key_protect.one("getKey", 200, id=key["id"])["payload"] == payload
    assert "payload" not in key_protect.one("getKeyMetadata", 200, id=key["id"])
    made = key_protect.make_key("made here", True)
    assert len(base64.b64decode(made["payload"])) == 32
    key_protect.good("deleteKey", 204, id=made["id"])


def test_lists_and_counts(key_protect):
    before = int(key_protect.ask("getKeyCollectionMetadata")["headers"]["key-total"])
    names = {key_protect.make_key(f"listed {i}")["name"] for i in range(3)}
    answer = key_protect.ask("getKeyCollectionMetadata")
    assert answer["status"] == 200 and int(answer["headers"]["key-total"]) == before + 3
    listed = key_protect.good("getKeys", 200, limit=5000, state=[1, 2], extractable=False)
    assert names <= {key["name"] for key in listed["resources"]}
    assert all("payload" not in key for key in listed["resources"])
    page = key_protect.good("getKeys", 200, limit=2, offset=1)
    assert page["metadata"]["collectionTotal"] == len(page["resources"]) == 2
    key_protect.refused("getKeys", 400, "INVALID_QUERY_PARAM_ERR", limit=5001)


def test_restore(key_protect):
    key = key_protect.make_key("restored")
    wrapped = key_protect.good("wrapKey", 200, id=key["id"], keyActionWrapBody={})
    key_protect.good("deleteKey", 204, id=key["id"])
    restored = key_protect.one("restoreKey", 201, id=key["id"], keyRestoreBody={})
    assert restored["id"] == key["id"] and restored["state"] == 1
    opened = key_protect.good("unwrapKey", 200, id=key["id"],
                              keyActionUnwrapBody={"ciphertext": wrapped["ciphertext"]})  # fmt: skip
    assert opened["plaintext"] == wrapped["plaintext"]


def test_versions(key_protect):
    key = key_protect.make_key("versions")
    key_protect.good("rotateKey", 204, id=key["id"], keyActionRotateBody={})
    versions = key_protect.good("getKeyVersions", 200, id=key["id"])["resources"]
    assert len(versions) == 2 and key["id"] in {version["id"] for version in versions}
    assert all(version["creationDate"].endswith("Z") for version in versions)


# ---- actions ----


def test_wrap_and_unwrap(key_protect):
    key = key_protect.make_key("wrapping")
    plaintext = base64.b64encode(os.urandom(32)).decode()
    aad = ["one", "two"]
    wrapped = key_protect.good("wrapKey", 200, id=key["id"],
                               keyActionWrapBody={"plaintext": plaintext, "aad": aad})  # fmt: skip
    assert wrapped["keyVersion"]["id"] == key["id"] and "plaintext" not in wrapped
    body = {"ciphertext": wrapped["ciphertext"], "aad": aad}
    opened = key_protect.good("unwrapKey", 200, id=key["id"], keyActionUnwrapBody=body)
    assert opened["plaintext"] == plaintext and "ciphertext" not in opened
    key_protect.refused("unwrapKey", 400, "INVALID_FIELD_ERR", id=key["id"],
                        keyActionUnwrapBody={**body, "aad": ["one"]})  # fmt: skip
    key_protect.refused("unwrapKey", 422, "UNPROCESSABLE_CIPHERTEXT_ERR", id=key["id"],
                        keyActionUnwrapBody={"ciphertext": "AAAA"})  # fmt: skip


def test_a_wrap_without_plaintext_makes_one(key_protect):
    key = key_protect.make_key("generating")
    made = key_protect.good("wrapKey", 200, id=key["id"])
    assert len(base64.b64decode(made["plaintext"])) == 32
    opened = key_protect.good("unwrapKey", 200, id=key["id"],
                              keyActionUnwrapBody={"ciphertext": made["ciphertext"]})  # fmt: skip
    assert opened["plaintext"] == made["plaintext"]


def test_rotation_is_transparent(key_protect):
    key = key_protect.make_key("rotating")
    old = key_protect.good("wrapKey", 200, id=key["id"])
    key_protect.good("rotateKey", 204, id=key["id"])
    opened = key_protect.good("unwrapKey", 200, id=key["id"],
                              keyActionUnwrapBody={"ciphertext": old["ciphertext"]})  # fmt: skip
    assert opened["plaintext"] == old["plaintext"]
    assert opened["ciphertext"] != old["ciphertext"]
    assert opened["keyVersion"]["id"] == key["id"]
    newest = opened["rewrappedKeyVersion"]["id"]
    assert newest != key["id"]
    body = {"ciphertext": old["ciphertext"]}
    rewrapped = key_protect.good("rewrapKey", 200, id=key["id"], keyActionRewrapBody=body)
    assert rewrapped["rewrappedKeyVersion"]["id"] == newest and "plaintext" not in rewrapped
    key_protect.refused("rotateKey", 409, "KEY_ROTATION_NOT_PERMITTED", id=key["id"])


def test_disable_and_enable(key_protect):
    key = key_protect.make_key("disabling")
    wrapped = key_protect.good("wrapKey", 200, id=key["id"])
    key_protect.good("disableKey", 204, id=key["id"])
    assert key_protect.one("getKey", 200, id=key["id"])["state"] == 2
    body = {"ciphertext": wrapped["ciphertext"]}
    key_protect.refused("unwrapKey", 409, "KEY_ACTION_INVALID_STATE_ERR", id=key["id"],
                        keyActionUnwrapBody=body)  # fmt: skip
    key_protect.good("enableKey", 204, id=key["id"])
    assert key_protect.good("unwrapKey", 200, id=key["id"], keyActionUnwrapBody=body)["plaintext"]


def test_dual_authorisation(key_protect):
    key = key_protect.make_key("two people")
    policy = {"type": "application/vnd.ibm.kms.policy+json", "dualAuthDelete": {"enabled": True}}
    put = key_protect.one("putPolicy", 200, id=key["id"], policy="dualAuthDelete",
                          setKeyPoliciesOneOf=envelope("policy", policy))  # fmt: skip
    assert put["dualAuthDelete"]["enabled"] is True
    key_protect.refused("deleteKey", 409, "AUTHORIZATIONS_NOT_MET", id=key["id"])
    key_protect.good("setKeyForDeletion", 204, id=key["id"])
    # The same person may not do both.
    key_protect.refused("deleteKey", 409, "AUTHORIZATIONS_NOT_MET", id=key["id"])
    key_protect.good("unsetKeyForDeletion", 204, id=key["id"])


def test_standard_keys_cannot_act(key_protect):
    key = key_protect.make_key("no root key", True)
    key_protect.refused("wrapKey", 400, "KEY_ROOT_REQ_ERR", id=key["id"])
    key_protect.refused("rotateKey", 400, "KEY_ROOT_REQ_ERR", id=key["id"])


# ---- the rest of it ----


def test_aliases(key_protect):
    key = key_protect.make_key("aliased")
    made = key_protect.one("createKeyAlias", 201, id=key["id"], alias="an_alias-1")
    assert made["alias"] == "an_alias-1" and made["keyId"] == key["id"]
    assert key_protect.one("getKey", 200, id="an_alias-1")["id"] == key["id"]
    other = key_protect.make_key("aliased too")
    key_protect.refused("createKeyAlias", 409, "KEY_ALIAS_NOT_UNIQUE_ERR", id=other["id"],
                        alias="an_alias-1")  # fmt: skip
    key_protect.good("deleteKeyAlias", 204, id=key["id"], alias="an_alias-1")
    key_protect.refused("getKey", 404, "KEY_NOT_FOUND_ERR", id="an_alias-1")


def test_key_rings(key_protect):
    key_protect.good("createKeyRing", 201, keyRingId="ring-of-a-test")
    rings = {ring["id"] for ring in key_protect.good("listKeyRings", 200)["resources"]}
    assert {"default", "ring-of-a-test"} <= rings
    key = key_protect.one("createKey", 201, body=new_key("in a ring"), xKmsKeyRing="ring-of-a-test")
    read = key_protect.one("getKey", 200, id=key["id"], xKmsKeyRing="ring-of-a-test")
    assert read["keyRingID"] == "ring-of-a-test"
    assert key_protect.ask("deleteKeyRing", keyRingId="ring-of-a-test")["status"] == 409
    key_protect.good("createKeyRing", 201, keyRingId="empty-ring")
    key_protect.good("deleteKeyRing", 204, keyRingId="empty-ring")


def test_policies(key_protect):
    key = key_protect.make_key("rotated by policy")
    none = key_protect.good("getPolicy", 200, id=key["id"])
    assert none["metadata"]["collectionTotal"] == 0
    policy = {"type": "application/vnd.ibm.kms.policy+json", "rotation": {"interval_month": 3}}
    put = key_protect.one("putPolicy", 200, id=key["id"], policy="rotation",
                          setKeyPoliciesOneOf=envelope("policy", policy))  # fmt: skip
    assert put["rotation"]["interval_month"] == 3
    read = key_protect.one("getPolicy", 200, id=key["id"], policy="rotation")
    assert read["rotation"]["interval_month"] == 3 and read["createdBy"]


def test_instance_policies(key_protect):
    resource = {"policy_type": "metrics", "policy_data": {"enabled": True}}
    key_protect.good("putInstancePolicy", 204, policy="metrics",
                     setInstancePoliciesOneOf=envelope("policy", resource))  # fmt: skip
    read = key_protect.one("getInstancePolicy", 200, policy="metrics")
    assert read["policy_type"] == "metrics" and read["policy_data"]["enabled"] is True
    key_protect.good("getAllowedIpPort", 200)


def test_registrations_are_empty_lists(key_protect):
    key = key_protect.make_key("registered nowhere")
    for operation, parameters in (("getRegistrations", {"id": key["id"]}),
                                  ("getRegistrationsAllKeys", {})):  # fmt: skip
        result = key_protect.good(operation, 200, **parameters)
        assert result["metadata"]["collectionTotal"] == 0 and not result.get("resources")


def test_import_tokens(key_protect):
    token = key_protect.good("postImportToken", 200, expiration=600, maxAllowedRetrievals=2)
    assert token["expirationDate"] > token["creationDate"]
    read = key_protect.good("getImportToken", 200)
    assert b"BEGIN PUBLIC KEY" in base64.b64decode(read["payload"]) and read["nonce"]


def test_associated_resources_are_not_synced_at_once(key_protect):
    key = key_protect.make_key("synced")
    # Not within an hour of making the key.
    key_protect.refused("syncAssociatedResources", 409, "REQ_TOO_EARLY_ERR", id=key["id"])


# ---- ibm-cloud-sdk-core ----


def adapter_of(name: str, root_key: str) -> dict:
    profile = {"profile": "native_1.0", "profile_data": {"crk_id": root_key}}
    return envelope("kmip_adapter", {"name": name, "description": "of a test", **profile})


def walk_through_adapters(ask, name: str, root_key: str, pem: str) -> None:
    """`ask(method, path, body, query)` answers status and result: the life of an adapter."""
    status, made = ask("POST", "/api/v2/kmip_adapters", adapter_of(name, root_key))
    assert status == 201, made
    adapter = made["resources"][0]
    assert {"created_by", "created_at", "updated_by", "updated_at"} <= set(adapter)
    status, read = ask("GET", f"/api/v2/kmip_adapters/{name}")
    assert status == 200 and read["resources"][0] == adapter
    status, listed = ask("GET", "/api/v2/kmip_adapters", None, {"crk_id": root_key})
    assert status == 200 and adapter["id"] in {one["id"] for one in listed["resources"]}
    certificates = f"/api/v2/kmip_adapters/{adapter['id']}/certificates"
    body = envelope("kmip_client_certificate", {"name": "vcenter", "certificate": pem})
    status, added = ask("POST", certificates, body)
    assert status == 201 and added["resources"][0]["certificate"].strip() == pem.strip()
    status, listed = ask("GET", certificates)
    assert status == 200 and "certificate" not in listed["resources"][0]
    status, objects = ask("GET", f"/api/v2/kmip_adapters/{name}/kmip_objects", None,
                          {"state": "1,2,3,4"})  # fmt: skip
    assert status == 200 and objects["metadata"]["collectionTotal"] == 0
    assert ask("DELETE", f"{certificates}/vcenter")[0] == 204
    assert ask("DELETE", f"/api/v2/kmip_adapters/{name}")[0] == 204
    assert ask("GET", f"/api/v2/kmip_adapters/{name}")[0] == 404


def make_root_key(api: Api, name: str) -> str:
    made = api.call("POST", "/keys", new_key(name))
    assert made.status == 201, made
    return made.resource["id"]


def test_sdk_core_of_npm_fetches_a_token_and_manages_adapters(server, api, tmp_path):
    pem = self_signed(tmp_path, "node").certificate.read_text()
    headers = {"Bluemix-Instance": api.instance}
    first = {"url": api.url, "apikey": api.api_key}
    with NodeClient(need_client("sdk-core"), server.ca, first) as client:

        def ask(method, path, body=None, query=None):
            answer = client.ask({"method": method, "path": path, "body": body, "query": query,
                                 "headers": headers})  # fmt: skip
            return answer["status"], answer.get("result") or answer.get("body")

        walk_through_adapters(ask, "from-node", make_root_key(api, "for node"), pem)


def test_sdk_core_of_debian_fetches_a_token_and_manages_adapters(server, api, tmp_path):
    core = pytest.importorskip("ibm_cloud_sdk_core", reason="no python3-ibm-cloud-sdk-core")
    authenticators = pytest.importorskip("ibm_cloud_sdk_core.authenticators")
    os.environ["REQUESTS_CA_BUNDLE"] = str(server.ca)
    authenticator = authenticators.IAMAuthenticator(api.api_key, url=api.url)
    service = core.BaseService(service_url=api.url, authenticator=authenticator)
    headers = {"Bluemix-Instance": api.instance}

    def ask(method, path, body=None, query=None):
        request = service.prepare_request(method, path, headers=headers, params=query, data=body)
        try:
            answer = service.send(request)
        except core.ApiException as failure:
            return failure.code, failure.http_response.json()
        result = answer.get_result()
        return answer.get_status_code(), result if not hasattr(result, "json") else result.json()

    pem = self_signed(tmp_path, "python").certificate.read_text()
    walk_through_adapters(ask, "from-python", make_root_key(api, "for python"), pem)
