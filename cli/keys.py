"""Make a throw-away key pair for the simulated exchange of one run."""

from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from cli.run_directory import RunDirectory

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
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    run.write_secret(key_file.name, private.decode())
    (run.public_keys / f"{key_id}.pub.pem").write_bytes(public)
