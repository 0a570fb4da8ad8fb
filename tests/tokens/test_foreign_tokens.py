"""Tokens of an identity provider: the claim of those that are really its, for us, and valid now."""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from inspect import isawaitable
from threading import Thread
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st
from tokens.token_keys import assembled, b64, hmac_signed, private_key, private_pem, public_der, public_pem
from tokens.token_support import SECRET

from fastapi_tenancy import ConfigurationError, InvalidTokenError, TenantUnavailableError, TokenResolver
from fastapi_tenancy.bearer import ForeignTokens

NOW = 1_800_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


PROVIDERS = {
    "RS256": "RSA",
    "RS512": "RSA",
    "PS256": "RSA",
    "ES256": "P-256",
    "ES384": "P-384",
    "EdDSA": "Ed25519",
}


def signed(claims: dict[str, Any], algorithm: str = "EdDSA", **header: Any) -> str:
    return jwt.encode(claims, private_key(PROVIDERS[algorithm]), algorithm, header or None)


def claims_of(**changes: Any) -> dict[str, Any]:
    """Of a token that is valid for ten minutes; None leaves a claim out."""
    claims = {"tenant": "acme", "exp": NOW + 600, "aud": "notes", "iss": "https://id.example", "sub": "ada"}
    return {name: value for name, value in {**claims, **changes}.items() if value is not None}


def provider(clock: Callable[[], float] | None = None, **given: Any) -> ForeignTokens:
    values = {
        "claim": "tenant",
        "key": public_pem("Ed25519"),
        "algorithms": ["EdDSA"],
        "audience": "notes",
        "issuer": "https://id.example",
        "now": clock or Clock(),
    }
    return ForeignTokens(**{**values, **given})


async def read(tokens: ForeignTokens, token: str) -> str | None:
    found = tokens.read(token)
    return await found if isawaitable(found) else found


@pytest.mark.parametrize("algorithm", PROVIDERS)
def test_the_claim_of_a_valid_token_is_read_at_once(algorithm: str) -> None:
    tokens = provider(key=public_pem(PROVIDERS[algorithm]), algorithms=[algorithm])
    assert tokens.read(signed(claims_of(), algorithm)) == "acme"


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_shared_secret_does(algorithm: str, size: int) -> None:
    secret = "s" * size
    tokens = provider(key=secret, algorithms=[algorithm])
    assert tokens.read(jwt.encode(claims_of(), secret, algorithm)) == "acme"


REFUSED = {
    "expired": {"exp": NOW - 5},
    "without an end": {"exp": None},
    "an end that is text": {"exp": str(NOW + 600)},
    "an end that is true": {"exp": True},
    "an end beyond all": {"exp": float("inf")},
    "an end that is no number": {"exp": float("nan")},
    "an enormous end": {"exp": 10**400},
    "an end that is a list": {"exp": [NOW + 600]},
    "not valid yet": {"nbf": NOW + 6},
    "a beginning that is text": {"nbf": "now"},
    "a beginning beyond all": {"nbf": float("-inf")},
    "for somebody else": {"aud": "others"},
    "for a list of others": {"aud": ["others", "more"]},
    "for nobody": {"aud": None},
    "an audience that is a number": {"aud": 7},
    "an audience that is an object": {"aud": {"notes": 1}},
    "of another issuer": {"iss": "https://evil.example"},
    "of no issuer": {"iss": None},
    "an issuer that is a list": {"iss": ["https://id.example"]},
    "a claim that is a number": {"tenant": 7},
    "a claim that is a list": {"tenant": ["acme"]},
    "a claim that is an object": {"tenant": {"id": "acme"}},
    "a claim that is true": {"tenant": True},
}


@pytest.mark.parametrize("claims", REFUSED.values(), ids=REFUSED)
def test_a_token_with_wrong_claims_is_refused(claims: dict[str, Any]) -> None:
    token = jwt.api_jws.PyJWS().encode(json.dumps(claims_of(**claims)).encode(), private_key("Ed25519"), "EdDSA")
    tokens = provider()
    for _ in range(2):
        with pytest.raises(InvalidTokenError):
            tokens.read(token)


def test_a_claim_that_is_null_is_refused() -> None:
    with pytest.raises(InvalidTokenError):
        provider().read(signed({**claims_of(), "tenant": None}))


def test_a_token_without_the_claim_names_nobody() -> None:
    assert provider().read(signed(claims_of(tenant=None))) is None


def test_a_token_for_somebody_is_refused_where_no_audience_is_set() -> None:
    tokens = provider(audience=None)
    with pytest.raises(InvalidTokenError):
        tokens.read(signed(claims_of()))
    assert tokens.read(signed(claims_of(aud=None))) == "acme"


def test_clocks_may_differ_by_5_seconds(clock: Clock) -> None:
    token = signed(claims_of(nbf=NOW, exp=NOW + 60))
    for seconds, valid in ((-5.1, False), (-5, True), (64.9, True), (65, False)):
        tokens, clock.now = provider(clock), NOW + seconds
        if valid:
            assert tokens.read(token) == "acme"
        else:
            with pytest.raises(InvalidTokenError):
                tokens.read(token)


def test_a_token_that_is_remembered_ends_in_time(clock: Clock) -> None:
    tokens, token = provider(clock), signed(claims_of(exp=NOW + 10))
    assert tokens.read(token) == "acme"
    clock.now = NOW + 14.9
    assert tokens.read(token) == "acme"
    clock.now = NOW + 15
    with pytest.raises(InvalidTokenError):
        tokens.read(token)


async def test_a_token_that_was_seen_is_believed_for_the_ttl_without_its_key(clock: Clock) -> None:
    asked: list[str] = []

    async def key(header) -> str:
        asked.append(header["kid"])
        return public_pem("Ed25519")

    tokens, token = provider(clock, key=key, ttl=60), signed(claims_of(), kid="k")
    assert await read(tokens, token) == "acme"
    assert tokens.read(token) == "acme"
    clock.now = NOW + 60
    assert await read(tokens, token) == "acme"
    assert asked == ["k", "k"]


async def test_tokens_are_remembered_boundedly(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fastapi_tenancy.bearer.foreign._REMEMBERED", 3)
    tokens = provider(clock)
    for number in range(6):
        assert tokens.read(signed(claims_of(jti=str(number)))) == "acme"
    assert len(tokens._known) == 3


CONFUSIONS = {
    "alg none": lambda claims: assembled({"alg": "none"}, claims),
    "alg none, unsigned": lambda claims: assembled({"alg": "none"}, claims).rpartition(".")[0] + ".",
    "HS256 by the public PEM": lambda claims: hmac_signed({"alg": "HS256"}, claims, public_pem("RSA").encode()),
    "HS256 by the stripped PEM": lambda claims: hmac_signed(
        {"alg": "HS256"}, claims, public_pem("RSA").strip().encode()
    ),
    "HS256 by the public DER": lambda claims: hmac_signed({"alg": "HS256"}, claims, public_der("RSA")),
    "HS256 by nothing": lambda claims: hmac_signed({"alg": "HS256"}, claims, b""),
    "another RSA algorithm": lambda claims: signed(claims, "PS256"),
    "RS512": lambda claims: signed(claims, "RS512"),
    "another key": lambda claims: signed(claims, "EdDSA"),
    "its own key in the header": lambda claims: signed(
        claims, "EdDSA", jwk={"kty": "OKP", "crv": "Ed25519", "x": "AA"}
    ),
    "a critical extension": lambda claims: signed(claims, "RS256", crit=["b64"], b64=True),
    "an unsecured JWE": lambda claims: f"{b64(b'{}')}....",
    "text": lambda claims: "acme",
}


@pytest.mark.parametrize("by_header", [False, True])
@pytest.mark.parametrize("forge", CONFUSIONS.values(), ids=CONFUSIONS)
async def test_algorithms_cannot_be_confused(forge: Callable[[dict[str, Any]], str], by_header: bool) -> None:
    key = public_pem("RSA")
    tokens = provider(key=(lambda header: key) if by_header else key, algorithms=["RS256"])
    assert await read(tokens, signed(claims_of(), "RS256")) == "acme"
    with pytest.raises(InvalidTokenError):
        await read(tokens, forge(claims_of()))


async def test_a_key_that_the_header_chooses_fits_one_algorithm() -> None:
    keys = {"r": public_pem("RSA"), "e": public_pem("P-256"), "s": SECRET}
    tokens = provider(key=lambda header: keys[header["kid"]], algorithms=["RS256", "ES256", "HS256"])
    assert tokens.read(signed(claims_of(), "RS256", kid="r")) == "acme"
    assert tokens.read(signed(claims_of(), "ES256", kid="e")) == "acme"
    assert tokens.read(jwt.encode(claims_of(), SECRET, "HS256", {"kid": "s"})) == "acme"
    for forged in (
        signed(claims_of(), "RS256", kid="e"),
        hmac_signed({"alg": "HS256", "kid": "r"}, claims_of(), keys["r"].encode()),
        hmac_signed({"alg": "RS256", "kid": "s"}, claims_of(), SECRET.encode()),
        signed(claims_of(), "RS256", kid="unknown"),
        signed(claims_of(), "RS256"),
    ):
        with pytest.raises(InvalidTokenError):
            tokens.read(forged)


FAILURES = {
    "unknown": (LookupError("unknown"), InvalidTokenError),
    "not in the set": (jwt.PyJWKClientError("unknown kid"), InvalidTokenError),
    "no connection": (jwt.PyJWKClientConnectionError("away"), TenantUnavailableError),
    "time-out": (TimeoutError(), TenantUnavailableError),
    "refused connection": (ConnectionError(), TenantUnavailableError),
    "a mistake": (ZeroDivisionError(), ZeroDivisionError),
    "none": (lambda: None, InvalidTokenError),
    "a number": (lambda: 7, InvalidTokenError),
    "a short secret": (lambda: "short", InvalidTokenError),
    "half a PEM": (lambda: "-----BEGIN PUBLIC KEY-----", InvalidTokenError),
    "a weak key": (lambda: public_pem("weak RSA"), InvalidTokenError),
    "an unfit key": (lambda: public_pem("X25519"), InvalidTokenError),
}


@pytest.mark.parametrize(("key", "error"), FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("later", [False, True])
async def test_a_key_that_cannot_be_had_is_a_401_or_a_503(key: Any, error: type[Exception], later: bool) -> None:
    def now(header: object) -> object:
        if isinstance(key, Exception):
            raise key
        return key()

    async def soon(header: object) -> object:
        await asyncio.sleep(0)
        return now(header)

    tokens = provider(key=soon if later else now, algorithms=["RS256", "HS256"])
    with pytest.raises(error):
        await read(tokens, signed(claims_of(), "RS256"))


def secret_jwk(secret: str) -> str:
    return json.dumps({"kty": "oct", "k": b64(secret.encode())})


MISTAKES = {
    "no algorithm": lambda: {"algorithms": []},
    "none": lambda: {"algorithms": ["none"]},
    "an unknown algorithm": lambda: {"algorithms": ["EdDSA", "XX1"]},
    "an unfit algorithm": lambda: {"algorithms": ["RS256"]},
    "two algorithms for one key": lambda: {"algorithms": ["EdDSA", "RS256"]},
    "two for the same keys": lambda: {"key": print, "algorithms": ["RS256", "PS256"]},
    "a secret and a public key": lambda: {"algorithms": ["EdDSA", "HS256"]},
    "a public key as a secret": lambda: {"algorithms": ["HS256"]},
    "a public RSA key as a secret": lambda: {"key": public_pem("RSA"), "algorithms": ["HS256"]},
    "an old spelling of it": lambda: {"key": public_pem("RSA", PublicFormat.PKCS1), "algorithms": ["HS256"]},
    "its DER as a secret": lambda: {"key": public_der("RSA"), "algorithms": ["HS256"]},
    "a JWK as a secret": lambda: {"key": secret_jwk(SECRET), "algorithms": ["HS256"]},
    "an SSH key as a secret": lambda: {"key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ", "algorithms": ["HS256"]},
    "a secret of 31 bytes": lambda: {"key": "s" * 31, "algorithms": ["HS256"]},
    "a secret of 32 bytes for 64": lambda: {"key": "s" * 32, "algorithms": ["HS512"]},
    "an empty secret": lambda: {"key": b"", "algorithms": ["HS256"]},
    "no key": lambda: {"key": None},
    "a private key": lambda: {"key": private_pem("Ed25519")},
    "a private key's object": lambda: {"key": private_key("Ed25519")},
    "nonsense in PEM": lambda: {"key": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"},
    "a weak RSA key": lambda: {"key": public_pem("weak RSA"), "algorithms": ["RS256"]},
    "another curve": lambda: {"key": public_pem("P-384"), "algorithms": ["ES256"]},
    "a key that cannot sign so": lambda: {"key": public_pem("X25519"), "algorithms": ["RS256"]},
}


@pytest.mark.parametrize("given", MISTAKES.values(), ids=MISTAKES)
def test_what_cannot_be_safe_is_refused_at_construction(given: Callable[[], dict[str, Any]]) -> None:
    with pytest.raises(ConfigurationError) as error:
        provider(**given())
    assert SECRET not in str(error.value)
    resolver = {"key": public_pem("Ed25519"), "algorithms": ["EdDSA"], **given()}
    with pytest.raises(ConfigurationError):
        TokenResolver(claim="tenant", **resolver)


FORMS = {
    "PEM": lambda: public_pem("RSA"),
    "PKCS 1": lambda: public_pem("RSA", PublicFormat.PKCS1).encode(),
    "PEM with more around it": lambda: f"# a comment\n{public_pem('RSA')}\n",
    "an object": lambda: private_key("RSA").public_key(),
    "a JWK": lambda: jwt.PyJWK(rsa_jwk()),
}


@pytest.mark.parametrize("key", FORMS.values(), ids=FORMS)
def test_a_public_key_is_taken_in_every_form(key: Callable[[], object]) -> None:
    assert provider(key=key(), algorithms=["RS256"]).read(signed(claims_of(), "RS256")) == "acme"


def rsa_jwk() -> dict[str, Any]:
    return jwt.algorithms.RSAAlgorithm.to_jwk(private_key("RSA").public_key(), as_dict=True)


@contextmanager
def serving(body: bytes) -> Iterator[tuple[str, list[str]]]:
    """A provider's key set at a URL, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/jwks", asked
        finally:
            server.shutdown()
            thread.join()


async def test_a_providers_key_set_is_read_in_a_thread_and_once() -> None:
    body = json.dumps({"keys": [{**rsa_jwk(), "kid": "k1", "use": "sig"}]}).encode()
    with serving(body) as (url, asked):
        jwks = jwt.PyJWKClient(url)

        async def key_of(header):
            return (await asyncio.to_thread(jwks.get_jwk_set))[header["kid"]]

        tokens = provider(key=key_of, algorithms=["RS256"])
        for number in range(3):
            assert await read(tokens, signed(claims_of(jti=str(number)), "RS256", kid="k1")) == "acme"
            with pytest.raises(InvalidTokenError):
                await read(tokens, signed(claims_of(), "RS256", kid=f"k{number + 2}"))
        assert asked == ["/jwks"]


async def test_a_provider_that_is_away_is_a_503() -> None:
    with serving(b"") as (url, _):
        pass
    jwks = jwt.PyJWKClient(url, timeout=1)

    async def key_of(header):
        return (await asyncio.to_thread(jwks.get_jwk_set))[header["kid"]]

    with pytest.raises(TenantUnavailableError) as error:
        await read(provider(key=key_of, algorithms=["RS256"]), signed(claims_of(), "RS256", kid="k1"))
    assert (error.value.status_code, error.value.headers) == (503, {"Retry-After": "2"})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["tenant", "exp", "nbf", "iat", "aud", "iss", "sub", "jti"]), JSON))
def test_any_claims_give_text_or_nobody_or_a_401(claims: dict[str, Any]) -> None:
    token = jwt.api_jws.PyJWS().encode(json.dumps(claims).encode(), private_key("Ed25519"), "EdDSA")
    try:
        found = provider(audience=None, issuer=None).read(token)
    except InvalidTokenError:
        return
    assert found == claims.get("tenant")
    assert found is None or isinstance(found, str)


@settings(max_examples=40)
@given(st.dictionaries(st.sampled_from(["alg", "kid", "typ", "crit", "b64", "jwk", "zip"]), JSON), JSON)
def test_any_header_is_a_401(header: dict[str, Any], claims: object) -> None:
    for tokens in (provider(), provider(key=lambda header: public_pem("Ed25519"))):
        with pytest.raises(InvalidTokenError):
            tokens.read(assembled(header, claims))
