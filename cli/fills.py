"""`alpha fit fills`, `alpha score fills` and `market`: what runs say of our fills and views."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from cli import research
from cli.outputs import writable

fit = typer.Typer(help="Fit a model on what runs recorded.", no_args_is_help=True)

Ledgers = Annotated[
    list[Path], typer.Option(help="Directory of a run, or of its ledger; may be repeated.")
]


@fit.command("fills")
def fit_fills(
    ledger: Ledgers, out: Annotated[Path, typer.Option(help="Where the artifact goes.")]
) -> None:
    """Fit fill probability and slippage on the orders and fills of runs that have ended.

    Exit code 0: written. 2: ledgers or arguments that can't be used, named.
    """
    from lab.fills.fit import FitError
    from lab.fills.fit import fit as fitted
    from lab.index.calibrate import write
    from libs.common.config import ConfigError

    writable(out, "--out")
    seen = _seen(ledger)
    try:
        model = fitted(seen, time.time_ns())
    except FitError as error:
        raise ConfigError(str(error)) from None
    write(model, out)
    console = Console()
    console.print(f"{out}: {model.id}, {model.provenance}, {_counted(model.counts)}")
    for name, row in model.series.items():
        console.print(
            f"{name}: {row.orders} orders, {row.orders_without_fill} without a fill, "
            f"{row.fills} fills; pulled {row.pull_per_min:.1f} times a minute, "
            f"adverse {row.adverse_cents:.1f} cents"
        )
    for what in model.not_estimated or ("nothing",):
        console.print(f"not estimated: {what}")


@research.score.command("fills")
def score_fills(
    ledger: Ledgers,
    out: Annotated[Path, typer.Option("--json", help="Where the results go.")],
    model: Annotated[
        Path | None, typer.Option(help="The artifact; the defaults without one.")
    ] = None,
    report: Annotated[Path | None, typer.Option(help="Where the page of it goes.")] = None,
) -> None:
    """Compare a fill model with what the exchange did to the orders of runs that have ended.

    Exit code 0: compared. 2: ledgers or arguments that can't be used, named.
    """
    from lab.fills.score import compare, markdown
    from libs.common.config import ConfigError
    from services.pricer.artifacts import load_fills
    from services.pricer.calibration import CalibrationError
    from services.pricer.fills import FillModel

    try:
        fills = load_fills(model) if model is not None else FillModel()
    except CalibrationError as error:
        raise ConfigError(str(error)) from None
    writable(out, "--json")
    if report is not None:
        writable(report, "--report")
    found = compare(fills, _seen(ledger))
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    page = markdown(found)
    if report is not None:
        report.write_text(page, encoding="utf-8")
    print(page, end="")


@research.score.command("market")
def score_market(
    ledger: Ledgers, out: Annotated[Path, typer.Option("--json", help="Where the results go.")]
) -> None:
    """Score the model against what the other participants' quotes implied, on settled outcomes.

    Exit code 0: scored. 2: ledgers or arguments that can't be used, named.
    """
    from lab.index.market import score_market as scored
    from lab.runs import LedgerUnreadable
    from libs.common.config import ConfigError

    writable(out, "--json")
    try:
        found = scored(ledger)
    except LedgerUnreadable as error:
        raise ConfigError(str(error)) from None
    out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for row in found["results"]:
        if row["horizon_min"] == "1-15":
            interval = row["gain_ci95"]
            shown = (
                "too few events"
                if interval is None
                else f"{interval[0]:+.1%} to {interval[1]:+.1%}"
            )
            print(
                f"{row['series']}: {row['n']} forecasts of {row['n_events']} events, error "
                f"{row['model_error']:.3f} against {row['market_error']:.3f}: "
                f"{row['gain_vs_market']:+.1%} ({shown})"
            )
    print("where the other participants are invented, this says how good they are, not how we are")


def _seen(paths: Sequence[Path]) -> Any:
    from lab.fills.fit import joined
    from lab.fills.ledger import observe
    from lab.runs import LedgerUnreadable
    from libs.common.config import ConfigError

    try:
        return joined([observe(path) for path in paths])
    except LedgerUnreadable as error:
        raise ConfigError(str(error)) from None


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items())
