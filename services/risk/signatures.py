"""Check an operator's signature: Ed25519, with the public key of risk's configuration.

The only use of cryptography outside of the broker: a public key is no secret.
"""

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

KEY_BYTES = 32
SIGNATURE_BYTES = 64


def public_key(text: str) -> Ed25519PublicKey:
    """Return the key of 64 hex digits; raise ValueError for anything else."""
    return Ed25519PublicKey.from_public_bytes(_bytes(text, KEY_BYTES, "operator_key"))


def is_signed(key: Ed25519PublicKey, signature: str, data: bytes) -> bool:
    """Return whether the signature, in hex, is this key's over these bytes."""
    try:
        key.verify(_bytes(signature, SIGNATURE_BYTES, "signature"), data)
    except (InvalidSignature, ValueError):
        return False
    return True


def _bytes(text: str, count: int, what: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != count or len(text) != 2 * count:
        raise ValueError(f"{what}: expected {2 * count} hex digits, got {len(text)} characters")
    return found
