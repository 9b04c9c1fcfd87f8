"""Signatures, checked by three independent hands: ours, the SDK's, and plain cryptography."""

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from kalshi_python_sync import KalshiAuth

from services.broker.signing import load_signer
from tests.conformance.cases import case
from tests.conformance.sdk import Sdk
from tests.conformance.simulator import KINDS, Simulator, make_key

NOW_MS = 1_790_000_000_123
# (method as given, URL as given to the SDK, method and path as signed): kalshi-api.md section 1.
TABLE = (
    ("GET", "/trade-api/v2/portfolio/balance", "GET/trade-api/v2/portfolio/balance"),
    ("get", "/trade-api/v2/markets?limit=5&cursor=", "GET/trade-api/v2/markets"),
    (
        "POST",
        "https://external-api.kalshi.com/trade-api/v2/portfolio/events/orders",
        "POST/trade-api/v2/portfolio/events/orders",
    ),
    (
        "delete",
        "/trade-api/v2/portfolio/events/orders/batched",
        "DELETE/trade-api/v2/portfolio/events/orders/batched",
    ),
    ("GET", "/trade-api/ws/v2", "GET/trade-api/ws/v2"),
)


def pss(salt: int) -> padding.PSS:
    return padding.PSS(mgf=padding.MGF1(hashes.SHA256()), salt_length=salt)


def verify(private: Any, headers: dict[str, str], signed: str) -> None:
    """Assert with `cryptography` alone that headers sign the text; a salt of 32, no other."""
    text = (headers["KALSHI-ACCESS-TIMESTAMP"] + signed).encode()
    raw = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
    public = private.public_key()
    if isinstance(public, rsa.RSAPublicKey):
        public.verify(raw, text, pss(32), hashes.SHA256())
    else:
        public.verify(raw, text)


@pytest.mark.parametrize("kind", KINDS)
@case("C70")
async def test_our_signatures_and_the_sdks_verify_alike(tmp_path: Path, kind: str) -> None:
    """Both sign the same bytes: each verifies under one key; Ed25519's are equal to the byte."""
    key = make_key("ours", kind, tmp_path)
    file = tmp_path / "key.pem"
    file.touch(0o600)
    file.write_text(key.pem)
    private = load_pem_private_key(key.pem.encode(), None)
    ours, theirs = load_signer(key.key_id, file), KalshiAuth(key.key_id, key.pem)
    for method, url, signed in TABLE:
        official = theirs.create_auth_headers(method, url)
        verify(private, official, signed)
        path = signed[len(method) :]
        own = ours.sign(NOW_MS, method, path)
        assert own["KALSHI-ACCESS-TIMESTAMP"] == str(NOW_MS)
        assert set(own) == set(official)
        verify(private, own, signed)
        same_time = ours.sign(int(official["KALSHI-ACCESS-TIMESTAMP"]), method, path)
        if kind == "ed25519":
            assert same_time == official


@pytest.mark.parametrize("kind", KINDS)
@case("C71")
async def test_the_exchange_takes_our_signature(live: Simulator, tmp_path: Path, kind: str) -> None:
    """A request that the broker's signer signed, sent by somebody else."""
    key = live.keys["sync", kind]
    file = tmp_path / "key.pem"
    file.touch(0o600)
    file.write_text(key.pem)
    signer = load_signer(key.key_id, file)
    client = Sdk("sync", live.base, key)
    path = "/portfolio/balance"
    headers = signer.sign(time.time_ns() // 1_000_000, "GET", "/trade-api/v2" + path)
    answer = await client.raw("GET", f"{path}?subaccount=0", headers=headers, sign=False)
    assert answer.status_code == 200
    await client.close()


def rsa_vectors(private: Any) -> dict[str, Callable[[bytes], bytes]]:
    """Return ways to sign with RSA that are not the documented one."""
    longest = private.key_size // 8 - 32 - 2
    return {
        "salt of 20": lambda text: private.sign(text, pss(20), hashes.SHA256()),
        "salt of zero": lambda text: private.sign(text, pss(0), hashes.SHA256()),
        "longest salt": lambda text: private.sign(text, pss(longest), hashes.SHA256()),
        "PKCS#1 v1.5": lambda text: private.sign(text, padding.PKCS1v15(), hashes.SHA256()),
        "SHA-512": lambda text: private.sign(
            text, padding.PSS(padding.MGF1(hashes.SHA512()), 32), hashes.SHA512()
        ),
        "MGF1 with SHA-1": lambda text: private.sign(
            text, padding.PSS(padding.MGF1(hashes.SHA1()), 32), hashes.SHA256()
        ),
    }


@pytest.mark.parametrize("kind", KINDS)
@case("C72")
async def test_every_other_signature_is_refused(live: Simulator, tmp_path: Path, kind: str) -> None:
    """Wrong salts, padding, hash, path, query, method, time unit or key: 401, each of them."""
    key = live.keys["sync", kind]
    client = Sdk("sync", live.base, key)
    good = client.auth.sign
    stranger = make_key("stranger", kind, tmp_path)
    now = str(time.time_ns() // 1_000_000)
    path = "/trade-api/v2/portfolio/balance"
    right = f"{now}GET{path}"
    other_kind = KINDS[1 - KINDS.index(kind)]
    other = KalshiAuth("", live.keys["sync", other_kind].pem)
    vectors: dict[str, tuple[str, bytes]] = {
        "path without the prefix": (now, good(f"{now}GET/portfolio/balance".encode())),
        "query included": (now, good(f"{right}?subaccount=0".encode())),
        "host included": (now, good(f"{now}GET127.0.0.1{path}".encode())),
        "lower-case method": (now, good(f"{now}get{path}".encode())),
        "another method": (now, good(f"{now}POST{path}".encode())),
        "separators": (now, good(f"{now} GET {path}".encode())),
        "another time": (now, good(f"{int(now) - 1}GET{path}".encode())),
        "seconds": (now[:10], good(f"{now[:10]}GET{path}".encode())),
        "nanoseconds": (now + "000000", good(f"{now}000000GET{path}".encode())),
        "another key": (now, KalshiAuth("", stranger.pem).sign(right.encode())),
        "the other kind of key": (now, other.sign(right.encode())),
        "one bit off": (now, bytes([good(right.encode())[0] ^ 1]) + good(right.encode())[1:]),
        "cut short": (now, good(right.encode())[:-1]),
        "nothing": (now, b"\0"),
    }
    if kind == "rsa":
        private = load_pem_private_key(key.pem.encode(), None)
        for name, sign in rsa_vectors(private).items():
            vectors[name] = (now, sign(right.encode()))
    for name, (timestamp, raw) in vectors.items():
        answer = await client.raw(
            "GET",
            "/portfolio/balance?subaccount=0",
            headers={
                "KALSHI-ACCESS-KEY": key.key_id,
                "KALSHI-ACCESS-TIMESTAMP": timestamp,
                "KALSHI-ACCESS-SIGNATURE": base64.b64encode(raw).decode(),
            },
            sign=False,
        )
        assert answer.status_code == 401, name
        expired = name in ("seconds", "nanoseconds")
        code = "header_timestamp_expired" if expired else "authentication_error"
        assert answer.json()["error"]["code"] == code, name
    await client.close()
