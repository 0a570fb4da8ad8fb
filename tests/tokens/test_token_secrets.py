"""What may be in `token_secrets`, and what each of them signs with."""

import importlib.util
import sys
from collections.abc import Callable

import jwt
import pytest
from pydantic import ValidationError
from support import make_tenancy
from tokens.token_keys import parts_of, private_key, private_pem, public_der, public_pem
from tokens.token_support import SECRET

from fastapi_tenancy import ConfigurationError, TenancySettings, TokenResolver
from fastapi_tenancy.bearer import keys, signing_key

ALGORITHMS = {
    "a text": (lambda: SECRET, "HS256"),
    "letters of several bytes": (lambda: "\u00e9" * 16, "HS256"),
    "RSA": (lambda: private_pem("RSA"), "RS256"),
    "P-256": (lambda: private_pem("P-256"), "ES256"),
    "Ed25519": (lambda: private_pem("Ed25519"), "EdDSA"),
}


@pytest.mark.parametrize(("secret", "algorithm"), ALGORITHMS.values(), ids=ALGORITHMS)
async def test_each_kind_of_secret_signs_with_one_algorithm(tmp_path, secret: Callable[[], str], algorithm) -> None:
    async with make_tenancy(tmp_path, token_secrets=[secret()]) as tenancy:
        acme = await tenancy.create_tenant("acme")
        issued = await tenancy.tokens.create("acme", name="ci", scopes=["b", "a"], expires_in=60)
        header, claims = parts_of(issued.token)
        assert (header["alg"], header["kid"]) == (algorithm, signing_key(secret()).kid)
        assert (claims["jti"], claims["sub"], claims["scope"]) == (issued.token_id, acme.id, "a b")
        assert claims["exp"] - claims["iat"] in (60, 61)
        assert (await tenancy.tokens.verify(issued.token)).token_id == issued.token_id


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
async def test_others_can_verify_a_token_by_the_public_key(tmp_path, kind: str) -> None:
    async with make_tenancy(tmp_path, token_secrets=[private_pem(kind)]) as tenancy:
        acme = await tenancy.create_tenant("acme")
        token = (await tenancy.tokens.create("acme", name="ci", expires_in=60)).token
    claims = jwt.decode(token, private_key(kind).public_key(), [parts_of(token)[0]["alg"]])
    assert claims["sub"] == acme.id


def test_each_secret_has_another_kid_which_tells_nothing_of_it() -> None:
    secrets = [SECRET, f"{SECRET}.", private_pem("RSA"), private_pem("P-256"), private_pem("Ed25519")]
    kids = [signing_key(secret).kid for secret in secrets]
    assert len(set(kids)) == len(secrets)
    assert kids == [signing_key(secret).kid for secret in secrets]
    assert {len(kid) for kid in kids} == {16}


MISTAKES = {
    "a public key": lambda: public_pem("Ed25519"),
    "an encrypted key": lambda: private_pem("Ed25519", b"password"),
    "a key that cannot sign": lambda: private_pem("X25519"),
    "a weak key": lambda: private_pem("weak RSA"),
    "another curve": lambda: private_pem("P-384"),
    "half a key": lambda: private_pem("Ed25519")[:80],
    "a JWK": lambda: '{"kty": "oct", "k": "c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0"}',
    "an SSH key": lambda: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAA",
}


@pytest.mark.parametrize("secret", MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_sign_is_refused_at_construction_and_not_shown(tmp_path, secret: Callable[[], str]) -> None:
    with pytest.raises(ConfigurationError) as error:
        make_tenancy(tmp_path, token_secrets=[SECRET, secret()])
    assert secret()[30:60] not in str(error.value)


@pytest.mark.parametrize("secret", ["", "short", "s" * 31, "\u00e9" * 15])
def test_a_secret_has_at_least_32_bytes(secret: str) -> None:
    with pytest.raises(ValidationError, match="at least 32 bytes") as error:
        TenancySettings(database_url="sqlite://", token_secrets=[SECRET, secret])
    assert secret == "" or secret not in str(error.value)


def test_secrets_come_from_the_environment_and_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TENANCY_DATABASE_URL", "sqlite://")
    monkeypatch.setenv("TENANCY_TOKEN_SECRETS", f'["{SECRET}"]')
    settings = TenancySettings.from_environment()
    assert [each.get_secret_value() for each in settings.token_secrets] == [SECRET]
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"


def test_a_public_key_in_der_is_no_secret() -> None:
    with pytest.raises(ConfigurationError):
        keys.Algorithms(["HS256"]).key(public_der("RSA"))


async def test_without_pyjwt_tokens_are_opaque_and_signed_ones_say_what_to_install(
    tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)
    spec = importlib.util.find_spec("fastapi_tenancy.bearer.keys")
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    monkeypatch.setattr(keys, "_INSTALLED", without._INSTALLED)
    for make in (
        lambda: make_tenancy(tmp_path, token_secrets=[SECRET]),
        lambda: TokenResolver(claim="tenant", key=SECRET, algorithms=["HS256"]),
    ):
        with pytest.raises(ConfigurationError, match=r"checkout: pip install '\.\[tokens\]'"):
            make()
    async with make_tenancy(tmp_path) as tenancy:
        await tenancy.create_tenant("acme")
        assert await tenancy.tokens.verify((await tenancy.tokens.create("acme", name="ci")).token)
