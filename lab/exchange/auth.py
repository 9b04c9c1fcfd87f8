"""Who is calling: public keys from a directory, signatures and timestamps checked strictly."""

import base64
import binascii
from collections.abc import Mapping
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from lab.exchange.errors import expired, missing_signature, unauthorized
from libs.common.clock import Clock

SUFFIX = ".pub.pem"
KEYS_MAX = 10_000
_PSS = PSS(mgf=MGF1(hashes.SHA256()), salt_length=hashes.SHA256.digest_size)
_SHA256 = hashes.SHA256()
_NS_PER_MS = 1_000_000


class KeysError(Exception):
    """The key directory or a key in it cannot be read; says which and what is expected."""


def load_keys(directory: Path) -> dict[str, RSAPublicKey | Ed25519PublicKey]:
    """Return every public key by key id. Raises KeysError."""
    try:
        paths = sorted(path for path in directory.iterdir() if path.name.endswith(SUFFIX))
    except OSError as error:
        raise KeysError(
            f"keys: expected a readable directory at {directory}, got {error.strerror}"
        ) from error
    if not 0 < len(paths) <= KEYS_MAX:
        raise KeysError(
            f"keys: expected 1 to {KEYS_MAX} files <key id>{SUFFIX} in {directory},"
            f" got {len(paths)}"
        )
    return {path.name.removesuffix(SUFFIX): _load(path) for path in paths}


def _load(path: Path) -> RSAPublicKey | Ed25519PublicKey:
    try:
        key = load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeysError(f"keys: expected a PEM public key in {path}, got: {error}") from error
    if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
        raise KeysError(f"keys: expected RSA or Ed25519 in {path}, got {type(key).__name__}")
    return key


class Authenticator:
    """Check the three access headers of a request against the known keys."""

    def __init__(
        self,
        keys: Mapping[str, RSAPublicKey | Ed25519PublicKey],
        skew_past_ns: int,
        skew_future_ns: int,
        other_clock: Clock | None = None,
    ) -> None:
        """Accept timestamps near the time of the call, or near `other_clock`'s where given."""
        self._keys = keys
        self._skew_past_ns = skew_past_ns
        self._skew_future_ns = skew_future_ns
        self._other_clock = other_clock

    def key_of(
        self,
        headers: Mapping[str, str],
        method: str,
        path: str,
        now_ns: int,
        offset_ns: int = 0,
    ) -> str:
        """Return the key id that signed `method` and `path` (without query) just now.

        The clocks that judge the timestamp are off by `offset_ns`.
        Raises ApiError with status 401 and the body that the exchange gives in each case.
        """
        key_id = headers.get("KALSHI-ACCESS-KEY", "")
        signature = headers.get("KALSHI-ACCESS-SIGNATURE", "")
        timestamp = headers.get("KALSHI-ACCESS-TIMESTAMP", "")
        if not key_id or not signature or not timestamp:
            raise missing_signature()
        key = self._keys.get(key_id)
        if key is None:
            raise unauthorized("NOT_FOUND")
        if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 15):
            raise expired()
        signed_ns = int(timestamp) * _NS_PER_MS - offset_ns
        other = self._other_clock
        if not self._near(signed_ns, now_ns) and (
            other is None or not self._near(signed_ns, other.now_ns())
        ):
            raise expired()
        message = f"{timestamp}{method}{path}".encode()
        try:
            raw = base64.b64decode(signature, validate=True)
            if isinstance(key, RSAPublicKey):
                key.verify(raw, message, _PSS, _SHA256)
            else:
                key.verify(raw, message)
        except (InvalidSignature, binascii.Error, ValueError):
            raise unauthorized("INCORRECT_API_KEY_SIGNATURE") from None
        return key_id

    def _near(self, signed_ns: int, now_ns: int) -> bool:
        age_ns = now_ns - signed_ns
        return -self._skew_future_ns < age_ns < self._skew_past_ns
