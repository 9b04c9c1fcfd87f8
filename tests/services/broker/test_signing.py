"""Signatures as a strict exchange verifies them, and key files that are refused."""

import base64
import pickle
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from services.broker.signing import Ed25519Signer, KeyFileError, RsaSigner, load_signer

KEY_ID = "a952bcbe-ec3b-4b5b-b8f9-11dae589608c"
AT_MS = 1_781_159_360_866
PATH = "/trade-api/v2/portfolio/events/orders"
MESSAGE = b"1781159360866POST/trade-api/v2/portfolio/events/orders"
SHA256 = hashes.SHA256()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def write_key(path: Path, pem: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(pem)
    path.chmod(mode)
    return path


def pem_of(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey, kind: PrivateFormat) -> bytes:
    return key.private_bytes(Encoding.PEM, kind, NoEncryption())


def strictly_verify(key: rsa.RSAPrivateKey, signature: bytes, message: bytes) -> None:
    """Verify as the exchange does: PSS, salt of 32 bytes exactly."""
    pss = padding.PSS(mgf=padding.MGF1(SHA256), salt_length=32)
    key.public_key().verify(signature, message, pss, SHA256)


@pytest.mark.parametrize("kind", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
def test_rsa_signature_verifies_strictly(
    tmp_path: Path, rsa_key: rsa.RSAPrivateKey, kind: PrivateFormat
) -> None:
    signer = load_signer(KEY_ID, write_key(tmp_path / "k.pem", pem_of(rsa_key, kind)))
    headers = signer.sign(AT_MS, "POST", PATH)
    assert headers["KALSHI-ACCESS-KEY"] == KEY_ID
    assert headers["KALSHI-ACCESS-TIMESTAMP"] == str(AT_MS)
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
    strictly_verify(rsa_key, signature, MESSAGE)


@pytest.mark.parametrize(
    "message",
    [
        b"1781159360866POST/portfolio/events/orders",
        MESSAGE + b"?subaccount=0",
        b"1781159360866post/trade-api/v2/portfolio/events/orders",
        b"1781159360POST/trade-api/v2/portfolio/events/orders",
    ],
)
def test_rsa_signature_covers_exactly_these_bytes(
    rsa_key: rsa.RSAPrivateKey, message: bytes
) -> None:
    headers = RsaSigner(KEY_ID, rsa_key).sign(AT_MS, "POST", PATH)
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"])
    with pytest.raises(InvalidSignature):
        strictly_verify(rsa_key, signature, message)


def test_the_verifier_refuses_other_salts_schemes_and_keys(rsa_key: rsa.RSAPrivateKey) -> None:
    mgf = padding.MGF1(SHA256)
    longest = padding.PSS.MAX_LENGTH
    wrong = [
        rsa_key.sign(MESSAGE, padding.PSS(mgf=mgf, salt_length=20), SHA256),
        rsa_key.sign(MESSAGE, padding.PSS(mgf=mgf, salt_length=longest), SHA256),
        rsa_key.sign(MESSAGE, padding.PKCS1v15(), SHA256),
    ]
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    headers = RsaSigner(KEY_ID, other).sign(AT_MS, "POST", PATH)
    wrong.append(base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"]))
    for signature in wrong:
        with pytest.raises(InvalidSignature):
            strictly_verify(rsa_key, signature, MESSAGE)


def test_ed25519_signature_is_exact(tmp_path: Path) -> None:
    seed = bytes(range(32))
    key = ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    signer = load_signer(
        KEY_ID, write_key(tmp_path / "k.pem", pem_of(key, PrivateFormat.PKCS8), 0o400)
    )
    assert isinstance(signer, Ed25519Signer)
    headers = signer.sign(AT_MS, "post", PATH)
    signature = base64.b64decode(headers["KALSHI-ACCESS-SIGNATURE"], validate=True)
    assert signature == key.sign(MESSAGE)
    key.public_key().verify(signature, MESSAGE)
    assert len(signature) == 64


def test_a_signer_shows_and_gives_away_nothing(rsa_key: rsa.RSAPrivateKey) -> None:
    signer = RsaSigner(KEY_ID, rsa_key)
    assert repr(signer) == "RsaSigner(key_id=…608c)"
    with pytest.raises(TypeError, match="private key"):
        pickle.dumps(signer)


def test_an_empty_key_id_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(KeyFileError, match="UUID"):
        RsaSigner("  ", rsa_key)


def one_line_error(path: Path) -> str:
    with pytest.raises(KeyFileError) as caught:
        load_signer(KEY_ID, path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    return text


def test_key_files_that_are_refused(tmp_path: Path, rsa_key: rsa.RSAPrivateKey) -> None:
    pem = pem_of(rsa_key, PrivateFormat.PKCS8)
    curve = ec.generate_private_key(ec.SECP256R1())
    short = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    locked = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    curve_pem = curve.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    assert "found none" in one_line_error(tmp_path / "missing.pem")
    assert "something else" in one_line_error(write_key(tmp_path / "text.pem", b"not a key"))
    assert "password" in one_line_error(write_key(tmp_path / "locked.pem", locked))
    assert "RSA or Ed25519" in one_line_error(write_key(tmp_path / "curve.pem", curve_pem))
    short_pem = pem_of(short, PrivateFormat.PKCS8)
    assert "2048" in one_line_error(write_key(tmp_path / "short.pem", short_pem))
    assert "0640" in one_line_error(write_key(tmp_path / "group.pem", pem, 0o640))
    assert "chmod 600" in one_line_error(write_key(tmp_path / "world.pem", pem, 0o604))
    assert one_line_error(tmp_path)
