"""Make a throw-away key pair for the simulated exchange of one run."""

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cli.run_directory import RunDirectory

RSA_BITS = 2_048


def write_exchange_key(run: RunDirectory, key_id: str, key_file: Path) -> None:
    """Write an RSA key for the broker alone, and its public half for the exchange."""
    key = rsa.generate_private_key(public_exponent=65_537, key_size=RSA_BITS)
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
