"""A client that says which version of a tenant it means changes that one or none."""

from dataclasses import replace

import httpx2 as httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import make_tenancy, running

from fastapi_tenancy import Tenancy, TenantConflictError
from fastapi_tenancy.multitenant.admin.preconditions import _tags

ACME = "/admin/tenants/acme"


@pytest.fixture
async def etag(client: httpx.AsyncClient) -> str:
    created = await client.post("/admin/tenants", json={"identifier": "acme"})
    return created.headers["etag"]


async def test_each_answer_with_a_tenant_has_its_etag_and_each_change_another(client: httpx.AsyncClient, etag) -> None:
    assert (await client.get(ACME)).headers["etag"] == etag
    tags = {
        etag,
        (await client.patch(ACME, json={"name": "Acme Inc"})).headers["etag"],
        (await client.post(f"{ACME}/suspend")).headers["etag"],
        (await client.post(f"{ACME}/activate")).headers["etag"],
    }
    assert len(tags) == 4
    assert all(tag.startswith('"') for tag in tags)


CHANGES = [
    ("PATCH", "", {"json": {"name": "new"}}, 200),
    ("POST", "/suspend", {}, 200),
    ("POST", "/activate", {}, 200),
    ("DELETE", "?drop_data=true", {}, 204),
]


@pytest.mark.parametrize(("method", "path", "body", "status"), CHANGES)
async def test_a_change_is_made_to_the_version_that_is_named_or_not_at_all(
    client: httpx.AsyncClient, etag: str, method: str, path: str, body: dict[str, object], status: int
) -> None:
    await client.patch(ACME, json={"name": "somebody else's"})
    stale = await client.request(method, ACME + path, headers={"If-Match": etag}, **body)
    assert (stale.status_code, "detail" in stale.json()) == (412, True)
    read = await client.get(ACME)
    assert (read.json()["name"], read.json()["status"]) == ("somebody else's", "active")
    answer = await client.request(method, ACME + path, headers={"If-Match": read.headers["etag"]}, **body)
    assert answer.status_code == status


IF_MATCH = {
    "*": 200,
    "{etag}": 200,
    '"other", {etag}': 200,
    ' "a,b" ,, {etag} ,': 200,
    "W/{etag}": 412,
    '"other"': 412,
    '""': 412,
    "unquoted": 400,
    "{etag} {etag}": 400,
    '*, "other"': 400,
    "w/{etag}": 400,
    "": 400,
    ",": 400,
}


async def test_if_match_is_read_as_rfc_9110_has_it(client: httpx.AsyncClient, etag: str) -> None:
    # A status that the tenant has already is no change, and leaves the version.
    answers = {
        given: await client.post(f"{ACME}/activate", headers={"If-Match": given.replace("{etag}", etag)})
        for given in IF_MATCH
    }
    assert {given: answer.status_code for given, answer in answers.items()} == IF_MATCH


async def test_if_match_may_be_sent_in_several_lines(client: httpx.AsyncClient, etag: str) -> None:
    lines = [("If-Match", '"other"'), ("If-Match", etag)]
    assert (await client.patch(ACME, json={"name": "new"}, headers=lines)).status_code == 200


IF_NONE_MATCH = {
    "{etag}": 304,
    "W/{etag}": 304,
    '"other", {etag}': 304,
    "*": 304,
    '"other"': 200,
    "nonsense": 200,
}


async def test_what_a_client_has_already_is_not_sent_again(client: httpx.AsyncClient, etag: str) -> None:
    for known, status in IF_NONE_MATCH.items():
        answer = await client.get(ACME, headers={"If-None-Match": known.replace("{etag}", etag)})
        assert (known, answer.status_code) == (known, status)
        assert (answer.headers["etag"], bool(answer.content)) == (etag, status == 200)


@pytest.mark.parametrize(("sent", "status"), [({"If-Match": "{etag}"}, 412), ({}, 409)])
@pytest.mark.parametrize(("method", "path", "body", "_"), [each for each in CHANGES if each[1] != "/activate"])
async def test_a_change_between_the_look_and_the_write_is_seen(
    client: httpx.AsyncClient, tenancy: Tenancy, etag, monkeypatch, sent, status, method, path, body, _
) -> None:
    real = tenancy.directory.read

    async def overtaken(identifier):
        found = await real(identifier)
        await tenancy.store.save(replace(found, name="faster"))
        return found

    monkeypatch.setattr(tenancy.directory, "read", overtaken)
    headers = {name: value.replace("{etag}", etag) for name, value in sent.items()}
    answer = await client.request(method, ACME + path, headers=headers, **body)
    monkeypatch.undo()
    assert answer.status_code == status
    read = (await client.get(ACME)).json()
    assert (read["name"], read["status"]) == ("faster", "active")


async def test_what_was_made_anew_under_the_same_name_has_another_etag(client: httpx.AsyncClient, etag: str) -> None:
    await client.delete(f"{ACME}?drop_data=true")
    again = await client.post("/admin/tenants", json={"identifier": "acme"})
    assert again.json()["version"] == int(etag.strip('"').rpartition("-")[2])
    assert (await client.delete(ACME, headers={"If-Match": etag})).status_code == 412


async def test_a_router_can_insist_on_if_match(tmp_path, admin_app) -> None:
    async with running(admin_app(make_tenancy(tmp_path), require_if_match=True)) as client:
        client.headers["Authorization"] = "Bearer admin"
        await client.post("/admin/tenants", json={"identifier": "acme"})
        assert (await client.patch(ACME, json={"name": "new"})).status_code == 428
        assert (await client.delete(ACME)).status_code == 428
        assert (await client.post(f"{ACME}/suspend")).status_code == 200
        assert (await client.delete(ACME, headers={"If-Match": "*"})).status_code == 204


async def test_a_deletion_can_be_of_one_version(on_sqlite: Tenancy) -> None:
    acme = await on_sqlite.get_tenant("acme")
    for act in (on_sqlite.delete_tenant, on_sqlite.suspend_tenant, on_sqlite.activate_tenant):
        with pytest.raises(TenantConflictError):
            await act("acme", version=acme.version - 1)
    await on_sqlite.update_tenant(acme, name="new")
    with pytest.raises(TenantConflictError):
        await on_sqlite.delete_tenant(acme, drop_data=True)
    assert (await on_sqlite.get_tenant("acme")).is_active
    await on_sqlite.delete_tenant("acme", drop_data=True, version=acme.version + 1)


OPAQUE = st.text(st.characters(codec="latin-1", categories=["L", "N", "P", "S"], exclude_characters='"'), max_size=4)
TAGS = st.builds('{}"{}"'.format, st.sampled_from(["", "W/"]), OPAQUE)


@given(st.lists(TAGS, min_size=1, max_size=4), st.sampled_from([",", " , ", ",\t", ",,"]))
def test_any_list_of_tags_is_read_as_it_was_written(tags: list[str], comma: str) -> None:
    assert _tags([comma.join(tags)]) == _tags(tags) == frozenset(tags)
