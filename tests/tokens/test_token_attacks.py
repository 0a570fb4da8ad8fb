"""Forged, changed and withdrawn tokens of our own are refused, and nothing tells what a token was."""

import logging
import traceback
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from support import make_tenancy
from tokens.token_keys import assembled, b64, hmac_signed, parts_of, private_key, private_pem, public_pem
from tokens.token_support import SECRET

from fastapi_tenancy import InvalidTokenError, Tenancy

Parts = tuple[dict[str, Any], dict[str, Any]]

OTHER = "another secret, of another deployment"

KEY = SECRET.encode()


def flipped(token: str, part: int, position: int = 3) -> str:
    """The token with one letter of a part changed."""
    parts = token.split(".")
    letter = "A" if parts[part][position] != "A" else "B"
    parts[part] = parts[part][:position] + letter + parts[part][position + 1 :]
    return ".".join(parts)


def of(forge: Callable[[dict[str, Any], dict[str, Any]], str]) -> Callable[[str], str]:
    return lambda token: forge(*parts_of(token))


def named(**changes: Any) -> Callable[[str], str]:
    """A token with other header fields, signed with the real secret; None leaves one out."""

    def forge(header: dict[str, Any], claims: dict[str, Any]) -> str:
        changed = {key: value for key, value in {**header, **changes}.items() if value is not None}
        return hmac_signed(changed, claims, KEY)

    return of(forge)


def saying(**changes: Any) -> Callable[[str], str]:
    """A token with other claims, signed with the real secret: what a leaked secret would allow."""
    return of(lambda header, claims: hmac_signed(header, {**claims, **changes}, KEY))


FORGERIES = {
    "no signature": lambda token: token.rpartition(".")[0] + ".",
    "two parts": lambda token: token.rpartition(".")[0],
    "four parts": lambda token: f"{token}.AAAA",
    "tampered header": lambda token: flipped(token, 0),
    "tampered claims": lambda token: flipped(token, 1),
    "tampered signature": lambda token: flipped(token, 2),
    "other spelling of the signature": lambda token: f"{token}=",
    "other tenant's id": of(lambda header, claims: assembled(header, {**claims, "sub": "0" * 32})),
    "alg none": of(lambda header, claims: assembled({**header, "alg": "none"}, claims)),
    "alg none without signature": of(
        lambda header, claims: assembled({**header, "alg": "none"}, claims).rpartition(".")[0] + "."
    ),
    "alg None": of(lambda header, claims: assembled({**header, "alg": "None"}, claims)),
    "alg null": of(lambda header, claims: assembled({**header, "alg": None}, claims)),
    "alg missing": named(alg=None),
    "alg a list": named(alg=["HS256"]),
    "alg a number": named(alg=256),
    "alg HS512": of(lambda header, claims: hmac_signed({**header, "alg": "HS512"}, claims, KEY, "sha512")),
    "alg HS256 by another name": named(alg="hs256"),
    "alg RS256": of(lambda header, claims: jwt.encode(claims, private_key("RSA"), "RS256", {**header, "alg": "RS256"})),
    "another secret": of(lambda header, claims: hmac_signed(header, claims, OTHER.encode())),
    "an empty secret": of(lambda header, claims: hmac_signed(header, claims, b"")),
    "kid missing": named(kid=None),
    "kid unknown": named(kid="0123456789abcdef"),
    "kid empty": named(kid=""),
    "kid a path": named(kid="../../../../dev/null"),
    "kid SQL": named(kid="x' UNION SELECT 'secret"),
    "kid a number": named(kid=1),
    "kid a list": named(kid=["a"]),
    "kid an object": named(kid={"a": 1}),
    "kid half a surrogate pair": named(kid="\ud800"),
    "key in the header": named(jwk={"kty": "oct", "k": b64(OTHER.encode())}, kid=None),
    "address of keys in the header": named(jku="https://evil.example/keys", kid=None),
    "critical extension": named(crit=["exp"]),
    "detached payload": named(b64=False, crit=["b64"]),
    "jti of another token": saying(jti="0" * 32),
    "jti missing": of(lambda header, claims: hmac_signed(header, {"sub": claims["sub"]}, KEY)),
    "jti a number": saying(jti=7),
    "jti null": saying(jti=None),
    "jti a list": saying(jti=["0" * 32]),
    "jti SQL": saying(jti="' OR 1=1 --"),
    "more scopes": saying(scope="admin"),
    "a later end": saying(exp=9_999_999_999),
    "an endless end": saying(exp=float("inf")),
    "an audience": saying(aud="somebody else"),
    "claims a list": of(lambda header, claims: hmac_signed(header, [claims], KEY)),
    "claims null": of(lambda header, claims: hmac_signed(header, None, KEY)),
    "header a list": of(lambda header, claims: hmac_signed([header], claims, KEY)),
    "header deep": lambda token: b64(b"[" * 8000) + ".e30.AAAA",
    "header with a long number": lambda token: b64(b'{"alg":' + b"9" * 5000 + b"}") + ".e30.AAAA",
    "claims deep": of(
        lambda header, _: jwt.api_jws.PyJWS().encode(b'{"a":' + b"[" * 4000, KEY, "HS256", {"kid": header["kid"]})
    ),
    "unsigned opaque of the same id": of(lambda _, claims: f"ft_{claims['jti']}_{'A' * 43}"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
async def test_a_forged_token_is_refused(tenancy: Tenancy, store, forgery: str) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", expires_in=60)
    forged = FORGERIES[forgery](issued.token)
    assert forged != issued.token
    for _ in range(2):
        with pytest.raises(InvalidTokenError) as error:
            await tenancy.tokens.verify(forged)
        assert error.value.headers == {"WWW-Authenticate": "Bearer"}
    assert (await tenancy.tokens.verify(issued.token)).token_id == issued.token_id
    assert set(store.asked) <= {issued.token_id, "0" * 32}


@pytest.mark.parametrize(
    "forge",
    [
        lambda token: token[:-1] + ("A" if token[-1] != "A" else "B"),
        lambda token: token[:-1],
        lambda token: f"{token}A",
        lambda token: token.upper(),
        lambda token: token.lower(),
        lambda token: token.replace("ft_", "FT_"),
        lambda token: token.removeprefix("ft_"),
        lambda token: f"{token}\n",
        lambda token: f" {token}",
        lambda token: f"{token[:-1]}\u0131",
    ],
)
async def test_a_changed_opaque_token_is_refused(tenancy: Tenancy, forge: Callable[[str], str]) -> None:
    issued = await tenancy.tokens.create("acme", name="ci", opaque=True)
    await tenancy.tokens.verify(issued.token)
    with pytest.raises(InvalidTokenError):
        await tenancy.tokens.verify(forge(issued.token))


async def test_what_the_store_holds_is_no_token(tenancy: Tenancy, store) -> None:
    issued = [await tenancy.tokens.create("acme", name="ci", opaque=opaque) for opaque in (False, True)]
    for each in issued:
        record = await store.get_token(each.token_id)
        assert each.token not in repr(record)
        for guess in (record.digest, f"ft_{record.token_id}_{record.digest[:43]}"):
            with pytest.raises(InvalidTokenError):
                await tenancy.tokens.verify(guess)


async def test_a_token_of_another_deployment_with_the_same_secret_is_refused(tenancy: Tenancy, tmp_path) -> None:
    async with make_tenancy(tmp_path / "other", token_secrets=[SECRET]) as other:
        await other.create_tenant("acme")
        issued = await other.tokens.create("acme", name="ci")
    with pytest.raises(InvalidTokenError):
        await tenancy.tokens.verify(issued.token)


ROTATIONS = {
    "a secret": lambda: [SECRET, OTHER],
    "Ed25519": lambda: [private_pem("Ed25519"), SECRET],
    "P-256": lambda: [private_pem("P-256"), private_pem("Ed25519")],
    "RSA": lambda: [private_pem("RSA"), private_pem("P-256")],
}


@pytest.mark.parametrize("secrets", ROTATIONS.values(), ids=ROTATIONS)
async def test_after_a_rotation_old_tokens_live_while_their_secret_is_listed(tmp_path, store, secrets) -> None:
    old, new = secrets()

    async def deployment(*listed: str, token: str = "") -> str:
        async with make_tenancy(tmp_path, store=store, token_secrets=listed) as tenancy:
            if token:
                return (await tenancy.tokens.verify(token)).token_id
            return (await tenancy.tokens.create("acme", name="ci")).token

    async with make_tenancy(tmp_path, store=store) as tenancy:
        await tenancy.create_tenant("acme")
    first = await deployment(old)
    second = await deployment(new, old)
    assert parts_of(first)[0]["kid"] != parts_of(second)[0]["kid"]
    for token in (first, second):
        assert await deployment(new, old, token=token) == parts_of(token)[1]["jti"]
    with pytest.raises(InvalidTokenError, match="token_secrets"):
        await deployment(new, token=first)
    with pytest.raises(InvalidTokenError, match="token_secrets"):
        await deployment(old, token=second)


@pytest.mark.parametrize("kind", ["RSA", "P-256", "Ed25519"])
async def test_a_public_key_is_no_secret_to_sign_with(tmp_path, store, kind: str) -> None:
    async with make_tenancy(tmp_path, store=store, token_secrets=[private_pem(kind)]) as tenancy:
        await tenancy.create_tenant("acme")
        header, claims = parts_of((await tenancy.tokens.create("acme", name="ci")).token)
        for secret in (public_pem(kind), public_pem(kind).strip()):
            with pytest.raises(InvalidTokenError):
                await tenancy.tokens.verify(hmac_signed({**header, "alg": "HS256"}, claims, secret.encode()))


@pytest.mark.parametrize("opaque", [False, True])
async def test_no_token_and_no_secret_reaches_a_log_a_repr_or_an_error(
    tenancy: Tenancy, caplog: pytest.LogCaptureFixture, opaque: bool
) -> None:
    caplog.set_level(logging.DEBUG)
    issued = await tenancy.tokens.create("acme", name="ci", opaque=opaque)
    record = await tenancy.tokens.verify(issued.token)
    told = [repr(issued), repr(record), repr(tenancy.settings), repr(tenancy.tokens), str(tenancy.stats())]
    await tenancy.tokens.revoke("acme", issued.token_id)
    for token in (issued.token, flipped(f"{issued.token}.AAAA.AAAA", 1), f"x{issued.token}"):
        with pytest.raises(InvalidTokenError) as error:
            await tenancy.tokens.verify(token)
        told += [str(error.value), repr(error.value), error.value.detail]
        told += traceback.format_exception(error.value)
    told += [str(vars(entry)) for entry in caplog.records]
    assert any("token created" in line for line in told)
    secret = issued.token[40:]
    assert [line for line in told if secret in line or SECRET in line] == []
