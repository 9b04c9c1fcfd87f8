"""Where one run of the system keeps what it makes: configuration, secrets, logs, data."""

import fcntl
import json
import os
import secrets
import shutil
import socket
import tempfile
from pathlib import Path
from typing import Any, TextIO

from msgspec import Struct

from libs.common.config import ConfigError

KEEP_RUNS = 5
_OF_ONE_RUN = ("nats", "ledger", "raw", "truth.jsonl", "prometheus", "alertmanager")


class RunDirectory(Struct, frozen=True):
    """The files of one run, under `root`."""

    root: Path

    @property
    def configs(self) -> Path:
        """Generated configuration, one file per process."""
        return self.root / "etc"

    @property
    def secrets(self) -> Path:
        """Passwords, tokens and keys; readable by the owner alone."""
        return self.root / "secrets"

    @property
    def public_keys(self) -> Path:
        """One `<key id>.pub.pem` for each account of the simulated exchange."""
        return self.root / "keys"

    @property
    def logs(self) -> Path:
        """Standard error of each process."""
        return self.root / "log"

    @property
    def state_file(self) -> Path:
        """What runs: process ids, ports, states; written by the supervisor."""
        return self.root / "state.json"

    @property
    def truth_log(self) -> Path:
        """The simulated exchange's own record."""
        return self.root / "truth.jsonl"

    @property
    def reports(self) -> Path:
        """Session reports."""
        return self.root / "reports"

    @classmethod
    def create(cls, root: Path) -> "RunDirectory":
        """Make the directories; secrets closed to others."""
        run = cls(root.resolve())
        try:
            for path in (run.configs, run.public_keys, run.logs, run.reports):
                path.mkdir(parents=True, exist_ok=True)
            run.secrets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"run directory: expected to write in {root}, found: {error.strerror}"
            ) from None
        return run

    def write_secret(self, name: str, text: str) -> Path:
        """Write a secret with mode 0600 and return its path."""
        path = self.secrets / name
        path.unlink(missing_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def token(self, name: str) -> Path:
        """Return the path of a random secret, making it when it isn't there yet."""
        path = self.secrets / name
        if not path.exists():
            self.write_secret(name, secrets.token_urlsafe(24))
        return path

    def write_config(self, name: str, values: dict[str, Any]) -> Path:
        """Write a process's configuration (JSON, which YAML readers accept)."""
        path = self.configs / f"{name}.yaml"
        path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        return path

    def set_aside(self, label: str) -> None:
        """Move what an earlier run left into `before/<label>`; keep the newest few of those.

        The simulated exchange begins anew: orders and fills of an earlier one are no positions
        in it, and their message ids would come a second time.
        """
        left = [path for name in _OF_ONE_RUN if (path := self.root / name).exists()]
        if not left:
            return
        parent = self.root / "before"
        (parent / label).mkdir(parents=True)
        for path in left:
            path.replace(parent / label / path.name)
        for path in sorted(parent.iterdir())[:-KEEP_RUNS]:
            shutil.rmtree(path, ignore_errors=True)

    def write_state(self, state: dict[str, Any]) -> None:
        """Replace the state file at once: a reader sees the old or the new one."""
        with tempfile.NamedTemporaryFile(
            "w", dir=self.root, delete=False, encoding="utf-8"
        ) as file:
            json.dump(state, file, indent=2)
        Path(file.name).replace(self.state_file)

    def read_state(self) -> dict[str, Any] | None:
        """Return what the supervisor last wrote, None when nothing ran here."""
        try:
            state: dict[str, Any] = json.loads(self.state_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return state


def home() -> Path:
    """Return the folder of all runs: `$ALPHA_HOME`, or `var` in the working directory."""
    return Path(os.environ.get("ALPHA_HOME", "var"))


def claim_up() -> TextIO | None:
    """Take the lock of `alpha up`: one run in the background at a time; None if it is taken.

    It lasts until each process that was handed the file has ended, so a run whose supervisor was
    killed keeps it while its processes still end: no second server opens the same store.
    """
    parent = home()
    try:
        parent.mkdir(parents=True, exist_ok=True)
        file = (parent / "up.lock").open("a", encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"run directory: expected to write in {parent}, found: {error.strerror}"
        ) from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


def new_demo_directory(stamp: str) -> RunDirectory:
    """Make a folder for one demo and drop the oldest ones."""
    parent = home() / "demo"
    root = parent / stamp
    for number in range(1, 100):
        if not root.exists():
            break
        root = parent / f"{stamp}-{number}"
    run = RunDirectory.create(root)
    older = sorted(path for path in parent.iterdir() if path.is_dir() and path != run.root)
    for path in older[: max(0, len(older) - KEEP_RUNS + 1)]:
        shutil.rmtree(path, ignore_errors=True)
    return run


def new_truth_log(stamp: str) -> Path:
    """Return where an exchange that runs alone writes its record, and drop the oldest ones."""
    parent = home() / "sim"
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"--truth: expected a folder {parent} to write in, found: {error.strerror}"
        ) from None
    for path in sorted(parent.glob("*.truth.jsonl"))[: -KEEP_RUNS + 1]:
        path.unlink(missing_ok=True)
    return parent / f"{stamp}-{os.getpid()}.truth.jsonl"


def free_ports(count: int, host: str = "127.0.0.1") -> list[int]:
    """Return ports that are free at this moment."""
    sockets = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind((host, 0))
        return [int(listener.getsockname()[1]) for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()
