"""`alpha live-smoke`: have the broker's module look at the exchange, and show what it found."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.errors import OperatingError
from cli.exchanges import Exchange
from cli.plan import ROOT
from libs.common.config import ConfigError

TIMEOUT_S = 90.0
"""More than all its calls may take together."""
EXIT_USAGE = 2
COLOURS = {"ok": "green", "failed": "red", "later": "yellow"}


def live_smoke(
    exchange: Exchange, key_id: str, key_file: Path, console: Console, *, as_json: bool
) -> int:
    """Show every check; return 0 if all are well, 1 if not. Raises ConfigError for a bad key.

    The check runs in a process of its own: this one never holds a key.
    """
    result, code = _ask(exchange, key_id, key_file)
    if as_json:
        console.print_json(data=result)
        return code
    table = Table(title=f"{exchange.rest_url}, only read", title_justify="left")
    for heading in ("check", "", "found"):
        table.add_column(heading, overflow="fold")
    for row in result["checks"]:
        colour = COLOURS[row["state"]]
        table.add_row(row["check"], f"[{colour}]{row['state']}[/{colour}]", row["found"])
    console.print(table)
    if result["roll"]:
        console.print(result["roll"], markup=False, highlight=False)
    console.print("all well" if result["well"] else "NOT all well", highlight=False)
    return code


def _ask(exchange: Exchange, key_id: str, key_file: Path) -> tuple[dict[str, Any], int]:
    words = ["--rest-url", exchange.rest_url, "--ws-url", exchange.ws_url]
    words += ["--key-id", key_id, "--key-file", str(key_file.resolve())]
    try:
        ended = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", "services.broker.smoke", *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        raise OperatingError(f"live-smoke: no result within {TIMEOUT_S:.0f} s") from None
    complaint = ended.stderr.strip().splitlines()
    if ended.returncode == EXIT_USAGE:
        raise ConfigError(complaint[-1] if complaint else "live-smoke: refused its arguments")
    try:
        return dict(json.loads(ended.stdout)), ended.returncode
    except ValueError:
        raise OperatingError(f"live-smoke: {complaint[-1] if complaint else 'no result'}") from None
