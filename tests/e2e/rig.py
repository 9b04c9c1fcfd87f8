"""Run the `alpha` command as a person does, and see what it does and leaves behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil

from lab.exchange.books import AccountBooks, read_books
from libs.common.admin import probe_health
from libs.common.clock import NS_PER_S, ClockSpec

PYTHON = sys.executable
ALPHA = Path(PYTHON).parent / "alpha"
ROOT = Path(__file__).resolve().parents[2]
SERVICES = ("feeds", "pricer", "risk", "broker", "monitors", "reporting")
ACCOUNT = "alpha"
POLL_S = 0.05
BARS = "index/windows/I_SPX_2024-08-05_noon.parquet"
T = TypeVar("T")


def until(found: Callable[[], T | None], what: str, timeout_s: float = 90.0) -> T:
    """Return the first result that is true; fail saying what was waited for."""
    deadline = time.monotonic() + timeout_s
    while not (result := found()):
        assert time.monotonic() < deadline, f"expected {what} within {timeout_s:.0f} s"
        time.sleep(POLL_S)
    return result


class Home:
    """A home of runs (`$ALPHA_HOME`) of one test's own, and the processes that belong to it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._started: list[Running] = []

    def environment(self, extra: dict[str, str] | None = None) -> dict[str, str]:
        """Return the environment in which the command runs."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        return {**kept, "ALPHA_HOME": str(self.root), "COLUMNS": "200", **(extra or {})}

    def alpha(
        self, *words: str, timeout_s: float = 120.0, extra: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [str(ALPHA), *words],
            env=self.environment(extra),
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )

    def start(self, *words: str) -> "Running":
        """Start a command and return at once."""
        running = Running(self, words, len(self._started))
        self._started.append(running)
        return running

    def processes(self) -> list[psutil.Process]:
        """Return every live process whose command line or home is ours, by asking the system."""
        ours = [one.process.pid for one in self._started if one.process.poll() is None]
        found = []
        for process in psutil.process_iter():
            try:
                belongs = process.pid in ours or self._belongs(process)
                if belongs and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def nothing_runs(self, timeout_s: float) -> bool:
        """Return whether all processes of this home end in time; name those that don't."""
        deadline = time.monotonic() + timeout_s
        while left := self.processes():
            if time.monotonic() > deadline:
                lines = [" ".join(process.cmdline()) for process in left if process.is_running()]
                raise AssertionError(f"still running: {lines}")
            time.sleep(POLL_S)
        return True

    def clear(self) -> None:
        """End whatever a failed test left."""
        for process in self.processes():
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        for running in self._started:
            running.process.wait(10)

    def _belongs(self, process: psutil.Process) -> bool:
        if any(str(self.root) in part for part in process.cmdline()):
            return True
        return process.environ().get("ALPHA_HOME", "").startswith(str(self.root))


class Running:
    """A command under way; its output goes to files."""

    def __init__(self, home: Home, words: tuple[str, ...], number: int) -> None:
        self.home = home
        self._known = set(home.root.glob("demo/*"))
        home.root.mkdir(parents=True, exist_ok=True)
        self._out = home.root / f"command-{number}.out"
        self._err = home.root / f"command-{number}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [str(ALPHA), *words],
                env=home.environment(),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """Return standard output so far."""
        return self._out.read_text()

    @property
    def complained(self) -> str:
        """Return standard error so far."""
        return self._err.read_text()

    @property
    def run(self) -> "Run":
        """Return the demo's own folder, once it is there."""
        new = until(
            lambda: set(self.home.root.glob("demo/*")) - self._known, "a folder for the run", 30
        )
        return Run(new.pop())

    def wait(self, timeout_s: float = 240.0) -> int:
        """Return the exit code."""
        return self.process.wait(timeout_s)


class Run:
    """One run's folder, read from outside."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def state(self) -> dict[str, Any] | None:
        """Return what the supervisor wrote last."""
        try:
            return dict(json.loads((self.root / "state.json").read_text()))
        except (OSError, ValueError):
            return None

    def row(self, name: str) -> dict[str, Any]:
        """Return what the supervisor says about one process."""
        state = until(self.state, "a state file")
        rows = [row for row in state["processes"] if row["name"] == name]
        return rows[0] if rows else {"pid": None, "restarts": 0}

    def last_words(self, name: str) -> list[str]:
        """Return the lines of a process's log that are no JSON: why a life of it ended."""
        lines = (self.root / "log" / f"{name}.log").read_text().splitlines()
        return [line for line in lines if not line.startswith("{")]

    def now_ns(self) -> int:
        """Return the time of the run's clock."""
        state = until(self.state, "a state file")
        return msgspec.convert(state["clock"], ClockSpec).build().now_ns()

    def before_target_s(self) -> float:
        """Return how many seconds of the run's clock are left to the target."""
        state = until(self.state, "a state file")
        return float((state["target_ns"] - self.now_ns()) / NS_PER_S)

    async def health(self, name: str) -> str:
        """Return a service's own answer to a health probe."""
        state = self.state()
        return await probe_health(f"127.0.0.1:{state['admin'][name]}") if state else "UNREACHABLE"

    async def healthy(self, *names: str, timeout_s: float = 60.0) -> None:
        """Return when these services, all six by default, say SERVING."""
        deadline = time.monotonic() + timeout_s
        while slow := [name for name in names or SERVICES if await self.health(name) != "SERVING"]:
            assert self.state(), f"the run ended with {slow} not READY"
            assert time.monotonic() < deadline, f"expected READY in {timeout_s:.0f} s: {slow}"
            await asyncio.sleep(POLL_S)

    def kill(self, name: str) -> int:
        """End a process as a crash would; return how often it had been restarted before."""
        row = until(lambda: row if (row := self.row(name))["pid"] else None, f"{name} to run")
        os.kill(row["pid"], signal.SIGKILL)
        return int(row["restarts"])

    def came_back(self, name: str, restarts_before: int) -> dict[str, Any]:
        """Return the process's row once the supervisor counted the restart."""

        def back() -> dict[str, Any] | None:
            row = self.row(name)
            return row if row["pid"] and row["restarts"] > restarts_before else None

        return until(back, f"{name} to be started again")

    def books(self) -> AccountBooks:
        """Return our account's books from the exchange's own log."""
        try:
            books = read_books(self.root / "truth.jsonl")
        except FileNotFoundError:
            books = {}
        return books.get(ACCOUNT, AccountBooks(account=ACCOUNT))

    def resting(self) -> list[str]:
        """Return the ids of our orders that the exchange still has on its books."""
        return [order.order_id for order in self.books().orders.values() if order.ended_ns is None]

    def some_rest(self) -> bool:
        """Return when an order of ours rests at the exchange."""
        return bool(until(self.resting, "an order at rest"))

    def secrets(self) -> dict[str, str]:
        """Return every secret of the run by file name; of a PEM key each line, frame left out."""
        found: dict[str, str] = {}
        for path in (self.root / "secrets").iterdir():
            if path.suffix == ".conf":
                continue
            lines = path.read_text().strip().splitlines()
            body = [line for line in lines if not line.startswith("-----")]
            # A last line may be short enough to stand in other places by chance.
            long = [line for line in body if len(line) > 20]
            found |= {f"{path.name}:{n}" if n else path.name: line for n, line in enumerate(long)}
        return found

    def files(self) -> Iterator[Path]:
        """Yield every file of the run but the secrets'."""
        for path in self.root.rglob("*"):
            if path.is_file() and "secrets" not in path.parts[len(self.root.parts) :]:
                yield path


def report_of(shown: str) -> tuple[dict[str, Any], str, dict[str, Any]]:
    """Return a demo's JSON result, its report as Markdown and as JSON."""
    result = json.loads(shown)
    markdown = Path(result["report"])
    return result, markdown.read_text(), json.loads(markdown.with_suffix(".json").read_text())


def assert_good_books(shown: str, report_says: Collection[str] = ()) -> dict[str, Any]:
    """Check a demo's JSON result against what the issue asks of it, and return it.

    `report_says` are the problems that the report is to name although the books agree.
    """
    result, markdown, report = report_of(shown)
    assert result["problems"] == []
    assert result["agree"] is True
    assert result["exchange"] == result["streams"] == result["ledger"]
    assert result["resting_after_t2"] == 0
    totals = report["totals"]
    by_state = report["sections"]["orders"]["rows"]  # event, state, orders, …
    refused = sum(row[2] for row in by_state if row[1] == "rejected")
    assert totals["orders"] - refused == result["exchange"]["orders"]
    assert totals["fills"] == result["exchange"]["fills"]
    assert totals["contracts_e2"] == result["exchange"]["contracts_e2"]
    assert totals["fee_e6"] == result["exchange"]["fees_e6"]
    assert totals["settled_e6"] == result["exchange"]["pnl_e6"]
    assert (totals["open_orders"], totals["fills_unsettled"]) == (0, 0)
    assert sorted(report["problems"]) == sorted(report_says)
    assert ("**The books agree.**" in markdown) == (not report_says)
    return dict(result)


def assert_replayed(running: Running, run: Run) -> None:
    """Check that the run was driven by the real bars, the other index's found beside them."""
    markdown, report = report_of(running.said)[1:]
    assert report["provenance"] == ["replay"]
    assert "2024-08-05 12:00" in markdown
    assert "[REPLAY]" in markdown
    assert {row[2] for row in report["sections"]["events"]["rows"]} == {"I:SPX", "I:NDX"}
    assert "I_SPX_2024-08-05_noon" in (run.root / "etc" / "index.yaml").read_text()
    assert "I:NDX: " in running.complained
    assert "I:NDX: synthetic" not in running.complained
