"""Keys: a throw-away pair for the simulated exchange of one run, and the operator's own."""

import os
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from cli.run_directory import RunDirectory
from libs.common.config import ConfigError
from services.risk.signatures import public_key

RSA_BITS = 2_048


def write_exchange_key(
    run: RunDirectory, key_id: str, key_file: Path, kind: Literal["rsa", "ed25519"] = "rsa"
) -> None:
    """Write a key for the broker alone, and its public half for the exchange."""
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    private = _pem(key)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    run.write_secret(key_file.name, private.decode())
    (run.public_keys / f"{key_id}.pub.pem").write_bytes(public)


def write_operator_key(key_file: Path) -> str:
    """Write a new operator's key with mode 0600; return the public half in hex.

    Raises ConfigError when the file is there already: a key is never overwritten.
    """
    key = ed25519.Ed25519PrivateKey.generate()
    try:
        descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        raise ConfigError(
            f"key file: expected a new file at {key_file}, found: {error.strerror}"
        ) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(_pem(key))
    return key.public_key().public_bytes_raw().hex()


def operator_key_of(key_file: Path) -> str:
    """Return the public half of an operator's key, in hex; raise ConfigError."""
    return _operator_key(key_file).public_key().public_bytes_raw().hex()


def read_operator_key(public_file: Path) -> str:
    """Return the public half that a file holds, as `alpha override keygen` printed it.

    Raises ConfigError, for the private half too: no process of a run has a use for it.
    """
    try:
        text = public_file.read_text(encoding="utf-8").strip().removeprefix("operator_key:").strip()
        public_key(text)
    except OSError as error:
        found = error.strerror or "no file"
    except ValueError as error:  # UnicodeDecodeError too
        found = str(error)
    else:
        return text
    raise ConfigError(
        f"--operator-key: expected the line that `alpha override keygen` printed, or its 64 hex"
        f" digits, in {public_file}, found: {found}"
    )


def sign_as_operator(key_file: Path, data: bytes) -> str:
    """Return the operator's signature over these bytes, in hex; raise ConfigError."""
    return _operator_key(key_file).sign(data).hex()


def _operator_key(key_file: Path) -> ed25519.Ed25519PrivateKey:
    try:
        key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
    except OSError as error:
        raise ConfigError(
            f"--key-file: expected the operator's key at {key_file}, found: {error.strerror};"
            " `alpha override keygen` makes one"
        ) from None
    except (ValueError, TypeError):
        raise ConfigError(f"--key-file: expected an Ed25519 key in PEM in {key_file}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise ConfigError(f"--key-file: expected an Ed25519 key in {key_file}, found another kind")
    return key


def _pem(key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
