"""Which tokens the functions take: one kind is good, everything else is a 401."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import jwt
import pytest
import respx
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from lib import config
from tests.functions import samples as s
from tests.functions.conftest import SECRET, SUPABASE, Rpcs, token

ISSUER = f"{SUPABASE}/auth/v1"
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
FOREIGN_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
EC_PEM = EC_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
PUBLISHED = {
    "keys": [
        {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "ec", "alg": "ES256", "use": "sig"},
        {
            **RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True),
            "kid": "rsa",
            "alg": "RS256",
            "use": "sig",
        },
        {"kty": "oct", "kid": "oct", "alg": "HS256", "k": base64.urlsafe_b64encode(b"x" * 32).decode()},
        {"kty": "EC", "kid": "broken", "crv": "P-256"},
    ]
}


Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


def claims(**changed: object) -> dict[str, Any]:
    """Those of a hosted project; ``None`` leaves one out."""
    good = {
        "sub": s.TUTOR,
        "aud": "authenticated",
        "role": "authenticated",
        "iss": ISSUER,
        "iat": int(time.time()),
        "exp": int(time.time()) + 600,
    }
    return {name: value for name, value in (good | changed).items() if value is not None}


def signed(key: Key = EC_KEY, algorithm: str = "ES256", kid: str | None = "ec", **changed: object) -> str:
    return jwt.encode(claims(**changed), key, algorithm, headers={} if kid is None else {"kid": kid})


def by_hand(header: Mapping[str, object], signature: bytes = b"", **changed: object) -> str:
    """A token that no honest library makes."""
    parts = [json.dumps(header).encode(), json.dumps(claims(**changed)).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


def confused(key: bytes) -> str:
    """Signed with a public key as if it were a shared secret."""
    content = by_hand({"alg": "HS256", "kid": "rsa"}).rsplit(".", 1)[0]
    mac = hmac.digest(key, content.encode(), "sha256")
    return f"{content}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


def unsigned_part_changed() -> str:
    header, _, signature = signed().split(".")
    return ".".join([header, by_hand({}, sub=s.ADMIN).split(".")[1], signature])


BAD: dict[str, Callable[[], str]] = {
    "no algorithm": lambda: by_hand({"alg": "none"}),
    "no algorithm, oddly written": lambda: by_hand({"alg": "nOnE", "kid": "ec"}),
    "no header algorithm at all": lambda: by_hand({"kid": "ec"}),
    "an algorithm that is no text": lambda: by_hand({"alg": ["ES256"], "kid": "ec"}),
    "wrong algorithm of the right family": lambda: signed(RSA_KEY, "RS512", "rsa"),
    "an algorithm that is not ours": lambda: signed(RSA_KEY, "PS256", "rsa"),
    "RS256 under the EC key's id": lambda: signed(RSA_KEY, "RS256", "ec"),
    "ES256 under the RSA key's id": lambda: signed(EC_KEY, "ES256", "rsa"),
    "a public RSA key as a shared secret": lambda: confused(RSA_PEM),
    "a public EC key as a shared secret": lambda: confused(EC_PEM),
    "a published symmetric key": lambda: jwt.encode(claims(), b"x" * 32, "HS256", headers={"kid": "oct"}),
    "wrong key": lambda: signed(FOREIGN_KEY),
    "unknown key id": lambda: signed(kid="who"),
    "a key that is published broken": lambda: signed(kid="broken"),
    "no key id": lambda: signed(kid=None),
    "a key id that is no text": lambda: by_hand({"alg": "ES256", "kid": 1}),
    "no expiry": lambda: signed(exp=None),
    "past expiry": lambda: signed(exp=int(time.time()) - 31),
    "an expiry that is no number": lambda: signed(exp="tomorrow"),
    "not valid yet": lambda: signed(nbf=int(time.time()) + 60),
    "wrong audience": lambda: signed(aud="anon"),
    "no audience": lambda: signed(aud=None),
    "wrong issuer": lambda: signed(iss="https://other.supabase.co/auth/v1"),
    "no issuer": lambda: signed(iss=None),
    "no subject": lambda: signed(sub=None),
    "a subject that is no UUID": lambda: signed(sub="amina"),
    "a subject in another spelling": lambda: signed(sub=s.TUTOR.replace("-", "")),
    "an empty subject": lambda: signed(sub=""),
    "the service role": lambda: signed(role="service_role"),
    "the anonymous role": lambda: signed(role="anon"),
    "a role of somebody's own": lambda: signed(role="postgres"),
    "no role": lambda: signed(role=None),
    "truncated": lambda: signed()[:-6],
    "two parts": lambda: signed().rsplit(".", 1)[0],
    "changed after signing": unsigned_part_changed,
    "oversized": lambda: signed(more="x" * 9000),
    "nothing": lambda: "",
    "words": lambda: "not a token",
    "a publishable key": lambda: "sb_publishable_test",
    "deep JSON": lambda: base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.e30",
}

SHARED_SECRET_BAD: dict[str, Callable[[], str]] = {
    "wrong secret": lambda: jwt.encode(claims(), SECRET[::-1], "HS256"),
    "another length": lambda: jwt.encode(claims(), SECRET, "HS512"),
    "past expiry": lambda: token(exp=int(time.time()) - 31),
    "no audience": lambda: token(aud=None),
    "wrong audience": lambda: token(aud="anon"),
    "wrong issuer": lambda: token(iss="https://other.supabase.co/auth/v1"),
    "an empty issuer": lambda: token(iss=""),
    "a subject that is no UUID": lambda: token(sub="amina"),
    "the service role": lambda: token(role="service_role"),
}


@pytest.fixture
def hosted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A project whose keys are published and which has no shared secret."""
    monkeypatch.delenv("SUPABASE_JWT_SECRET")
    config.settings.cache_clear()


@pytest.fixture
def jwks(rpcs: Rpcs) -> respx.Route:
    rpcs.answer("get_me", s.person)
    return rpcs.publish(PUBLISHED)


async def ask(client: httpx.AsyncClient, bearer: str) -> httpx.Response:
    return await client.get("/me", headers={"Authorization": f"Bearer {bearer}"})


def assert_not_signed_in(response: httpx.Response, bearer: str) -> None:
    assert response.status_code == 401, response.text
    assert response.json()["code"] == "not_signed_in"
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert response.headers["Content-Type"] == "application/problem+json"
    assert bearer not in response.text or not bearer


@pytest.mark.usefixtures("hosted", "jwks")
@pytest.mark.parametrize("make", BAD.values(), ids=BAD.keys())
async def test_a_bad_token_is_a_401_and_goes_no_further(
    client: httpx.AsyncClient, rpcs: Rpcs, make: Callable[[], str]
) -> None:
    bearer = make()
    assert_not_signed_in(await ask(client, bearer), bearer)
    assert not rpcs.was_called("get_me")


@pytest.mark.usefixtures("jwks")
@pytest.mark.parametrize("make", [*BAD.values(), *SHARED_SECRET_BAD.values()], ids=[*BAD, *SHARED_SECRET_BAD])
async def test_a_shared_secret_lets_no_other_bad_token_in(client: httpx.AsyncClient, make: Callable[[], str]) -> None:
    bearer = make()
    assert_not_signed_in(await ask(client, bearer), bearer)


@pytest.mark.usefixtures("hosted", "jwks")
@pytest.mark.parametrize(
    "make",
    [
        signed,
        lambda: signed(RSA_KEY, "RS256", "rsa"),
        lambda: signed(aud=["authenticated"]),
        lambda: signed(exp=int(time.time()) - 5),
    ],
    ids=["ES256", "RS256", "an audience in a list", "within the leeway"],
)
async def test_a_good_token_is_taken(client: httpx.AsyncClient, make: Callable[[], str]) -> None:
    assert (await ask(client, make())).status_code == 200


@pytest.mark.usefixtures("jwks")
@pytest.mark.parametrize("make", [token, lambda: token(iss=ISSUER), signed], ids=["lite", "docker", "ES256"])
async def test_a_local_stack_takes_its_shared_secret_too(client: httpx.AsyncClient, make: Callable[[], str]) -> None:
    assert (await ask(client, make())).status_code == 200


@pytest.mark.usefixtures("hosted", "jwks")
async def test_without_the_shared_secret_its_tokens_are_refused(client: httpx.AsyncClient) -> None:
    assert_not_signed_in(await ask(client, token(iss=ISSUER)), token())


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic YTpi", "bearer"])
async def test_a_header_without_a_token_is_a_401(client: httpx.AsyncClient, rpcs: Rpcs, header: str) -> None:
    response = await client.get("/me", headers={"Authorization": header})
    assert (response.status_code, rpcs.count) == (401, 0)


@pytest.mark.usefixtures("hosted")
async def test_keys_that_cannot_be_had_are_a_503(client: httpx.AsyncClient, jwks: respx.Route) -> None:
    jwks.mock(side_effect=httpx.ConnectError("refused"))
    response = await ask(client, signed())
    assert (response.status_code, response.json()["code"]) == (503, "upstream_unavailable")
    assert int(response.headers["Retry-After"]) > 0
