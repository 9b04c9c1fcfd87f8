"""Hold a private key and sign with it: the only module that imports cryptography.

RSA signs with PSS, SHA-256, MGF1-SHA-256 and a salt as long as the digest; Ed25519 signs the
bytes directly (kalshi-api.md §1). The exchange chooses by the registered key.
"""

import base64
import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from libs.kalshi.signing import KEY_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, signed_bytes

_SHA256 = hashes.SHA256()
_PSS = padding.PSS(mgf=padding.MGF1(_SHA256), salt_length=hashes.SHA256.digest_size)
_KEY_FILE_BYTES_MAX = 64 * 1024
_RSA_BITS_MIN = 2048


class KeyFileError(Exception):
    """A private key that cannot be used; one line that names the file and what to do."""


class _KeySigner:
    """What both kinds of key share: the headers and a masked appearance."""

    def __init__(self, key_id: str) -> None:
        if not key_id.strip() or not key_id.isascii() or not key_id.isprintable():
            raise KeyFileError("key id: expected the UUID that the exchange shows, got none")
        self.key_id = key_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key_id=…{self.key_id[-4:]})"

    def __reduce__(self) -> str:
        raise TypeError("a signer holds a private key and is not copied or pickled")

    def sign(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        """Return the three signature headers of one request."""
        signature = self._sign_bytes(signed_bytes(timestamp_ms, method, path))
        return {
            KEY_HEADER: self.key_id,
            TIMESTAMP_HEADER: str(timestamp_ms),
            SIGNATURE_HEADER: base64.b64encode(signature).decode("ascii"),
        }

    def _sign_bytes(self, message: bytes) -> bytes:
        raise TypeError("use RsaSigner or Ed25519Signer")


class RsaSigner(_KeySigner):
    """Sign with an RSA key."""

    def __init__(self, key_id: str, key: rsa.RSAPrivateKey) -> None:
        super().__init__(key_id)
        self.__key = key

    def _sign_bytes(self, message: bytes) -> bytes:
        return self.__key.sign(message, _PSS, _SHA256)


class Ed25519Signer(_KeySigner):
    """Sign with an Ed25519 key."""

    def __init__(self, key_id: str, key: ed25519.Ed25519PrivateKey) -> None:
        super().__init__(key_id)
        self.__key = key

    def _sign_bytes(self, message: bytes) -> bytes:
        return self.__key.sign(message)


def load_signer(key_id: str, path: Path) -> RsaSigner | Ed25519Signer:
    """Return the signer of the PEM file at `path`. Raises KeyFileError with one line."""
    pem = _read_private_file(path)
    try:
        key = load_pem_private_key(pem, password=None)
    except TypeError as error:
        raise KeyFileError(
            f"{path}: expected an unencrypted PEM private key, got one with a password"
        ) from error
    except ValueError as error:
        raise KeyFileError(
            f"{path}: expected a PEM private key as the exchange issued it, got something else"
        ) from error
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return Ed25519Signer(key_id, key)
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < _RSA_BITS_MIN:
            raise KeyFileError(
                f"{path}: expected RSA of {_RSA_BITS_MIN} bits or more, got {key.key_size}"
            )
        return RsaSigner(key_id, key)
    raise KeyFileError(f"{path}: expected an RSA or Ed25519 key, got {type(key).__name__}")


def _read_private_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise KeyFileError(f"{path}: expected a key file, got something else")
            if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                mode = stat.S_IMODE(status.st_mode)
                raise KeyFileError(
                    f"{path}: expected a key that only its owner can read, got mode {mode:04o};"
                    " run chmod 600 on it"
                )
            if status.st_size > _KEY_FILE_BYTES_MAX:
                raise KeyFileError(f"{path}: expected a PEM key, got {status.st_size} bytes")
            return file.read(_KEY_FILE_BYTES_MAX)
    except FileNotFoundError as error:
        raise KeyFileError(f"{path}: expected a private key file, found none") from error
    except OSError as error:
        raise KeyFileError(f"{path}: cannot read the private key: {error.strerror}") from error
