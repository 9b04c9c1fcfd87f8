"""`alpha live-smoke`: have the broker's module look at the exchange, and show what it found."""

from pathlib import Path

from rich.console import Console
from rich.table import Table

from cli.exchanges import Exchange
from cli.one_shot import run_one_shot

TIMEOUT_S = 90.0
"""More than all its calls may take together."""
COLOURS = {"ok": "green", "failed": "red", "later": "yellow"}


def live_smoke(
    exchange: Exchange, key_id: str, key_file: Path, console: Console, *, as_json: bool
) -> int:
    """Show every check; return 0 if all are well, 1 if not. Raises ConfigError for a bad key.

    The check runs in a process of its own: this one never holds a key.
    """
    words = ["--rest-url", exchange.rest_url, "--ws-url", exchange.ws_url]
    words += ["--key-id", key_id, "--key-file", str(key_file.resolve())]
    with console.status(f"looking at {exchange.rest_url} …"):
        result, code = run_one_shot("services.broker.smoke", words, TIMEOUT_S)
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
