"""`alpha calibrate` and `alpha score`: fit index models, and say how good they are."""

import json
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from cli.outputs import writable

calibrate = typer.Typer(help="Fit a model's calibration from history.", no_args_is_help=True)
score = typer.Typer(help="Score models on days they have not seen.", no_args_is_help=True)

Model = Annotated[str, typer.Option(help="index, runbook or random-walk.")]
BarsDir = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of Parquet minute bars, SPX or NDX in their names; may be repeated."),
]
Levels = Annotated[
    list[Path] | None,
    typer.Option(help="CSV of levels: symbol, target_timestamp, level; may be repeated."),
]
HOUR = 60
ALL = "nothing left out"
STDOUT = Path("-")


@calibrate.command("index")
def calibrate_index(
    out: Annotated[Path, typer.Option(help="Where the artifact goes.")],
    bars: BarsDir = None,
    levels: Levels = None,
    days: Annotated[int | None, typer.Option(min=1, help="Use the last so many days.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="A day to hold out, YYYY-MM-DD; may be repeated.")
    ] = None,
    model: Model = "index",
    as_json: Annotated[bool, typer.Option("--json", help="Print what was fitted as JSON.")] = False,
) -> None:
    """Fit an index model on minute bars and levels, and write its artifact.

    Exit code 0: written. 2: data or arguments that can't be used, named.
    """
    from cli.plan import parse_day
    from lab.index.calibrate import calibrate as fit
    from lab.index.calibrate import write

    for day in exclude or ():
        parse_day(day, "--exclude")
    writable(out, "--out")
    paths = [*(bars or ()), *(levels or ())]
    if not paths:
        raise typer.BadParameter("expected --bars or --levels")
    found, loaded = _refusing(
        lambda: fit(_model(model), paths, time.time_ns(), days=days, exclude=exclude or ())
    )
    write(found, out)
    console = Console()
    if as_json:
        told = ("model", "symbols", "sha256", "window_start", "window_end", "counts")
        values = {name: getattr(found, name) for name in (*told, "not_estimated")}
        values["symbols"] = list(found.symbols)
        console.print_json(data={"out": str(out), "files": list(loaded.files)} | values)
        return
    console.print(f"{out}: {found.model} of {', '.join(found.symbols)}, sha256 {found.sha256[:12]}")
    console.print(
        f"data {found.window_start} to {found.window_end}, {len(loaded.files)} files:"
        f" {_counted(found.counts)}"
    )
    for what in found.not_estimated or ("nothing",):
        console.print(f"not estimated: {what}")


@score.command("index")
def score_index(
    out: Annotated[Path, typer.Option("--json", help="Where the results go; - is stdout.")],
    train: Annotated[
        str | None, typer.Option(help="DIR,FILE of bars and levels to fit on.")
    ] = None,
    test: Annotated[str | None, typer.Option(help="DIR,FILE of days to score.")] = None,
    model: Model = "index",
    walk_forward: Annotated[
        str | None, typer.Option(help="DIR,FILE: fit on all days before each stretch of it.")
    ] = None,
    first_days: Annotated[int, typer.Option(min=1, help="Walk-forward: days fitted first.")] = 20,
    refit_days: Annotated[int, typer.Option(min=1, help="Walk-forward: days per stretch.")] = 5,
    plots: Annotated[Path | None, typer.Option(help="Folder for SVG plots.")] = None,
) -> None:
    """Score a model beside both baselines at every minute before every target.

    Either --train and --test, or --walk-forward. Days that both hold are not scored.
    Exit code 0: scored. 2: data or arguments that can't be used, named.
    """
    from lab.index import score as scoring
    from lab.index.history import load, split
    from lab.index.plots import draw

    if (walk_forward is None) == (train is None or test is None):
        raise typer.BadParameter("expected --train and --test, or --walk-forward alone")
    if out != STDOUT:
        writable(out, "--json")
    names = dict.fromkeys((model, *scoring.BASELINES.values()))
    models = {name: _model(name) for name in names}
    now_ns = time.time_ns()

    def run() -> tuple[Any, dict[str, Any]]:
        if walk_forward is not None:
            whole = load(split(walk_forward))
            found = scoring.walk_forward(models, whole.history, now_ns, first_days, refit_days)
            return found, {"walk_forward": _about(whole)}
        assert train is not None, "checked above"
        assert test is not None, "checked above"
        fitted, scored = load(split(train)), load(split(test))
        found = scoring.score(models, fitted.history, scored.history, now_ns)
        return found, {"train": _about(fitted), "test": _about(scored)}

    found, data = _refusing(run)
    report = scoring.report(found) | {"model": model, "data": data} | scoring.folds_of(found)
    text = json.dumps(report, indent=1)
    console = Console(stderr=out == STDOUT)
    if out == STDOUT:
        print(text)
    else:
        out.write_text(text + "\n", encoding="utf-8")
    if plots is not None:
        for path in draw(report, plots):
            print(path, file=console.file)
    show(report, console)


def _model(name: str) -> Any:
    from services.pricer.models.registry import MODELS

    if name not in MODELS:
        raise typer.BadParameter(f"expected one of {', '.join(MODELS)}, got {name!r}")
    return MODELS[name]


def _refusing(work: Any) -> Any:
    """Do the work; what its data don't allow is an error of usage in one line."""
    from lab.index.history import HistoryError
    from lab.index.score import ScoreError
    from libs.common.config import ConfigError
    from services.pricer.models.history import FitError

    try:
        return work()
    except (HistoryError, ScoreError, FitError) as error:
        raise ConfigError(str(error)) from None


def _about(loaded: Any) -> dict[str, Any]:
    problems = {what: count for what, count in loaded.problems.items() if count}
    return {"files": list(loaded.files), "problems": problems}


def _counted(counts: dict[str, int]) -> str:
    return ", ".join(f"{what} {count}" for what, count in counts.items())


def show(report: dict[str, Any], console: Console) -> None:
    """Print the model's pooled rows: the window's minutes, and an hour before."""
    table = Table(
        title=f"{report['questions']} forecasts of {report['levels']} levels"
        f" on {len(report['days'])} days",
        # In 80 columns too every number must be whole.
        box=SIMPLE_HEAD,
        padding=0,
        show_edge=False,
    )
    table.add_column("family", no_wrap=True)
    for name in ("min", "n", "days", "CRPS", "80 %", "against", "CRPS gain", "log gain"):
        table.add_column(name, justify="right", no_wrap="gain" not in name)
    rows = [row for row in report["pooled"] if row["model"] == report["model"]]
    for row in rows:
        if isinstance(row["horizon_min"], int) and row["horizon_min"] != HOUR:
            continue
        head = [row["family"], str(row["horizon_min"]), str(row["n"]), str(row["n_days"])]
        head += [f"{row['crps']:.3f}", f"{row['coverage_80']:.0%}"]
        for name, label in (("random_walk", ""), ("runbook", "_runbook")):
            gain = _gain(row[f"crps_gain_vs_{name}"], row[f"crps_gain_ci95{label}"], "{:+.1%}")
            log_gain = _gain(row[f"log_gain_vs_{name}"], row[f"log_gain_ci95{label}"], "{:+.3f}")
            table.add_row(*head, name.replace("_", "-"), gain, log_gain)
            head = [""] * len(head)
    console.print(table, crop=False)
    console.print("Gains with 95 % intervals over days; CRPS of all families in bps of the level.")
    console.print("A close is a target of an hourly family and of a range: forecast for each.")
    for name, about in report["data"].items():
        console.print(f"{name}, {len(about['files'])} files: {_counted(about['problems']) or ALL}")
    found = {what: count for what, count in report["problems"].items() if count}
    console.print(f"scored: {_counted(found) or ALL}")


def _gain(value: float | None, interval: Any, form: str) -> str:
    if value is None:
        return "–"
    if interval is None:
        return f"{form.format(value)} (too few days)"
    low, high = map(form.format, interval)
    return f"{form.format(value)} ({low}, {high})"
