"""`alpha sim exchange` as real processes: one that follows the wall clock, one in a hurry."""

import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

ALPHA = Path(sys.executable).with_name("alpha")
READY_S = 60
END_S = 20
KINDS = ("rsa", "ed25519")


@dataclass(frozen=True)
class Key:
    """An API key: its id and the PEM of its private half."""

    key_id: str
    pem: str


def make_key(name: str, kind: str, directory: Path) -> Key:
    """Make a key, and write its public half as the simulator wants it."""
    private = (
        rsa.generate_private_key(public_exponent=65537, key_size=2048)
        if kind == "rsa"
        else ed25519.Ed25519PrivateKey.generate()
    )
    key_id = str(uuid5(NAMESPACE_URL, name))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (directory / f"{key_id}.pub.pem").write_bytes(public)
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return Key(key_id, pem.decode())


class Simulator:
    """One running simulator and the keys that it knows; `stop` it."""

    def __init__(self, directory: Path, accounts: tuple[str, ...], *options: str) -> None:
        directory.mkdir()
        public = directory / "keys"
        public.mkdir()
        self.keys = {
            (name, kind): make_key(f"{name}-{kind}", kind, public)
            for name in accounts
            for kind in KINDS
        }
        truth = directory / "truth.jsonl"
        self._process = subprocess.Popen(
            [str(ALPHA), "sim", "exchange", "--keys", public, "--truth", truth, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._base = ""

    @property
    def base(self) -> str:
        """Return the REST URL; waits for the ready line."""
        if not self._base:
            assert self._process.stdout is not None
            watchdog = threading.Timer(READY_S, self._process.kill)
            watchdog.start()
            line = self._process.stdout.readline()
            watchdog.cancel()
            assert line, f"alpha sim exchange ended: {self._process.communicate()[1]}"
            self._base = line.split()[-1]
        return self._base

    @property
    def websocket(self) -> str:
        """Return the WebSocket URL."""
        return self.base.replace("http://", "ws://").removesuffix("/v2") + "/ws/v2"

    def stop(self) -> None:
        """End it; what it wrote to standard error all through the tests is a failure."""
        self._process.terminate()
        try:
            _, said = self._process.communicate(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise
        assert (self._process.returncode, said) == (0, "")
