"""Compare a fill model with what a run's exchange did: rates by bucket, α, slippage.

The simulator fills by its queue, price before time; the model sees books and fair value only. Two
comparisons: fills against those that the rate expects for the same minutes at risk, and the share
of each order filled against its α, both by bucket. An interval is the wider of two: drawing whole
events (three or more), and Poisson's for as many fills.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaincinv

from lab.fills.fit import Seen
from lab.fills.observe import Markout, OrderRow, Row
from lab.index.metrics import DayDraws, gain_of
from libs.domain.money import COUNT_ONE_E2
from services.pricer.fills import FillModel, FillState

Floats = NDArray[np.float64]

BUCKETS: dict[str, tuple[Callable[[FillState], float], tuple[float, ...]]] = {
    "cents behind the best": (lambda state: state.behind_e4 / 100.0, (-0.5, 0.5, 1.5, 3.5)),
    "contracts before us": (lambda state: state.ahead_e2 / COUNT_ONE_E2, (0.5, 10.5, 100.5)),
    "edge in cents": (lambda state: state.edge_cents, (10.0, 15.0, 20.0, 30.0)),
    "minutes left": (lambda state: state.minutes_left, (1.0, 5.0, 10.0)),
    "part of the ladder's doubt": (lambda state: state.attention, (0.1, 0.2, 0.3)),
    "contracts of ours": (lambda state: state.count_e2 / COUNT_ONE_E2, (1.5, 10.5)),
    "ask": (lambda state: float(state.side == "ask"), (0.5,)),
}
"""What is compared apart: a value of the state, and the edges between buckets."""
QUANTILES = 5


def compare(model: FillModel, seen: Seen) -> dict[str, Any]:
    """Return the comparison, ready for JSON."""
    orders = [row for row in seen.orders if row.ended]
    alpha = np.array([model.of_series(o.series).probability(o.state) for o in orders])
    filled = np.array([o.share for o in orders])
    expected = np.array(
        [model.of_series(row.series).rate_per_min(row.state) * row.minutes for row in seen.rows]
    )
    return {
        "model": model.id,
        "in_sample": bool(set(model.runs) & set(seen.runs)),
        "runs": list(seen.runs),
        "provenance": seen.provenance,
        "orders": len(orders),
        "orders_without_fill": int((filled == 0.0).sum()),
        "orders_unended": len(seen.orders) - len(orders),
        "events": len({row.event for row in orders}),
        "problems": seen.problems,
        "brier": _brier(orders, alpha, filled),
        "alpha": _by_alpha(orders, alpha, filled),
        "rates": _rates(seen.rows, expected),
        "queue": _by_queue(orders, alpha, filled),
        "slippage": _slippage(model, seen.markouts),
    }


def _brier(orders: Sequence[OrderRow], alpha: Floats, filled: Floats) -> dict[str, Any]:
    """Return squared errors of the share filled: the model's, one α's, the defaults'."""
    if not orders:
        return {}
    usual = FillModel()
    before = np.array([usual.of_series(o.series).probability(o.state) for o in orders])
    errors = {
        "model": (alpha - filled) ** 2,
        "one_alpha": (filled.mean() - filled) ** 2,
        "defaults": (before - filled) ** 2,
    }
    event, draws = _draws([row.event for row in orders])
    found: dict[str, Any] = {name: float(values.mean()) for name, values in errors.items()}
    for rival in ("one_alpha", "defaults"):
        gain, interval = gain_of(errors["model"], errors[rival], event, draws)
        found[f"gain_vs_{rival}"], found[f"gain_ci95_{rival}"] = gain, interval
    return found


def _by_alpha(orders: Sequence[OrderRow], alpha: Floats, filled: Floats) -> list[dict[str, Any]]:
    """Return predicted and realised shares by quantile of α, all together last."""
    if not orders:
        return []
    edges = np.quantile(alpha, np.arange(1, QUANTILES) / QUANTILES)
    bucket = np.searchsorted(edges, alpha, side="right")
    groups = [np.flatnonzero(bucket == at) for at in range(QUANTILES)]
    found = []
    for label, group in [*enumerate(groups, 1), ("all", np.arange(len(orders)))]:
        if group.size:
            events = [orders[at].event for at in group.tolist()]
            found.append(
                {
                    "quantile": label,
                    "orders": int(group.size),
                    "alpha": float(alpha[group].mean()),
                    "filled": float(filled[group].mean()),
                    "filled_ci95": _ratio_interval(filled[group], np.ones(group.size), events),
                }
            )
    return found


def _by_queue(orders: Sequence[OrderRow], alpha: Floats, filled: Floats) -> list[dict[str, Any]]:
    """Return predicted and realised shares by what really stood before each order, if known."""
    known = np.array([at for at, row in enumerate(orders) if row.queue_e2 is not None], np.int64)
    contracts = [(orders[at].queue_e2 or 0) / COUNT_ONE_E2 for at in known.tolist()]
    edges = BUCKETS["contracts before us"][1]
    bucket = np.searchsorted(np.array(edges), contracts, side="right")
    found = []
    for place in range(len(edges) + 1):
        group = known[bucket == place]
        if group.size:
            mine = [orders[at] for at in group.tolist()]
            seen = [row.state.ahead_e2 / COUNT_ONE_E2 for row in mine]
            found.append(
                {
                    "contracts_before_us": _label(edges, place),
                    "orders": int(group.size),
                    "seen_before_us": float(np.mean(seen)),
                    "alpha": float(alpha[group].mean()),
                    "filled": float(filled[group].mean()),
                    "filled_ci95": _ratio_interval(
                        filled[group], np.ones(group.size), [row.event for row in mine]
                    ),
                }
            )
    return found


def _ratio_interval(
    fills: Floats, expected: Floats, events: Sequence[str]
) -> tuple[float, float] | None:
    """Return the 95 % interval of Σ fills / Σ expected: the wider of both kinds."""
    total, below = float(fills.sum()), float(expected.sum())
    if below <= 0.0:
        return None
    # Garwood's limits of a Poisson mean.
    low = float(gammaincinv(total, 0.025)) / below if total > 0.0 else 0.0
    high = float(gammaincinv(total + 1.0, 0.975)) / below
    _, gain = gain_of(fills, expected, *_draws(events))
    if gain is not None:
        low, high = min(low, 1.0 - gain[1]), max(high, 1.0 - gain[0])
    return low, high


def _draws(events: Sequence[str]) -> tuple[NDArray[np.int64], DayDraws]:
    """Return each row's event by number, and draws of whole events."""
    names, event = np.unique(np.array(events), return_inverse=True)
    return event, DayDraws.of(tuple(names.tolist()))


def _rates(rows: Sequence[Row], expected: Floats) -> list[dict[str, Any]]:
    """Return observed against expected fills, in all, by series, and by bucket."""
    found = [_rate(rows, expected, "all", "", np.arange(len(rows)))]
    for name in sorted({row.series for row in rows}):
        mine = np.array([at for at, row in enumerate(rows) if row.series == name])
        found.append(_rate(rows, expected, "series", name, mine))
    for what, (value, edges) in BUCKETS.items():
        bucket = np.searchsorted(np.array(edges), [value(row.state) for row in rows], side="right")
        for at in range(len(edges) + 1):
            group = np.flatnonzero(bucket == at)
            if group.size:
                found.append(_rate(rows, expected, what, _label(edges, at), group))
    return found


def _label(edges: tuple[float, ...], at: int) -> str:
    if at == 0:
        return f"below {edges[0]:g}"
    return f"{edges[at - 1]:g} to {edges[at]:g}" if at < len(edges) else f"from {edges[-1]:g}"


def _rate(
    rows: Sequence[Row], expected: Floats, what: str, label: str, group: NDArray[np.int64]
) -> dict[str, Any]:
    share = np.array([rows[at].share for at in group.tolist()])
    total, mine = float(share.sum()), float(expected[group].sum())
    events = [rows[at].event for at in group.tolist()]
    return {
        "by": what,
        "bucket": label,
        "minutes": float(sum(rows[at].minutes for at in group.tolist())),
        "fills": total,
        "expected": mine,
        "ratio": total / mine if mine else None,
        "ratio_ci95": _ratio_interval(share, expected[group], events),
        "events": len(set(events)),
    }


def _slippage(model: FillModel, markouts: Sequence[Markout]) -> list[dict[str, Any]]:
    """Return what fair value moved against us, and what the model says, in cents per contract."""
    found = []
    for name in sorted({row.series for row in markouts}):
        mine = [row for row in markouts if row.series == name]
        fills = model.of_series(name)
        weight = np.array([row.count_e2 / COUNT_ONE_E2 for row in mine])
        moved = np.array([row.adverse_cents for row in mine])
        said = np.array([fills.slippage_cents(row.participation, row.minutes_left) for row in mine])
        centre = float(weight @ moved / weight.sum())
        error = float(np.sqrt(weight**2 @ (moved - centre) ** 2) / weight.sum())
        found.append(
            {
                "series": name,
                "fills": len(mine),
                "moved_cents": centre,
                "standard_error_cents": error,
                "model_cents": float(weight @ said / weight.sum()),
            }
        )
    return found


def markdown(report: dict[str, Any]) -> str:
    """Return the comparison as a page."""
    lines = [
        f"# Fill model {report['model']} against what the exchange did",
        "",
        f"{report['orders']} orders ({report['orders_without_fill']} without a fill) of "
        f"{report['events']} events in {len(report['runs'])} runs, {report['provenance']}. "
        + ("The model was fitted on them." if report["in_sample"] else "Not seen by the fit."),
        "",
    ]
    brier = report["brier"]
    if brier:
        lines += [
            "| squared error of the share filled | | model's gain |",
            "|---|---|---|",
            f"| model | {brier['model']:.5f} | |",
        ]
        lines += [
            f"| {name.replace('_', ' ')} | {brier[name]:.5f} | {brier[f'gain_vs_{name}']:+.1%}"
            f"{_interval(brier[f'gain_ci95_{name}'], '{:+.1%}')} |"
            for name in ("one_alpha", "defaults")
        ]
    lines += ["", "| α, fifths | orders | α | filled |", "|---|---|---|---|"]
    lines += [
        f"| {row['quantile']} | {row['orders']} | {row['alpha']:.3f} | {row['filled']:.3f}"
        f"{_interval(row['filled_ci95'], '{:.3f}')} |"
        for row in report["alpha"]
    ]
    lines += ["", "| fills per time at risk | | minutes | fills | expected | ratio |"]
    lines += ["|---|---|---|---|---|---|"]
    lines += [
        f"| {row['by']} | {row['bucket']} | {row['minutes']:.1f} | {row['fills']:.1f} "
        f"| {row['expected']:.1f} | {_ratio(row)} |"
        for row in report["rates"]
    ]
    if report["queue"]:
        lines += ["", "| in the exchange's queue | orders | as we saw it | α | filled |"]
        lines += ["|---|---|---|---|---|"]
    lines += [
        f"| {row['contracts_before_us']} contracts | {row['orders']} | {row['seen_before_us']:.1f} "
        f"| {row['alpha']:.3f} | {row['filled']:.3f}{_interval(row['filled_ci95'], '{:.3f}')} |"
        for row in report["queue"]
    ]
    lines += ["", "| slippage, cents | fills | seen | model |", "|---|---|---|---|"]
    lines += [
        f"| {row['series']} | {row['fills']} | {row['moved_cents']:+.1f} ± "
        f"{1.96 * row['standard_error_cents']:.1f} | {row['model_cents']:.1f} |"
        for row in report["slippage"]
    ]
    return "\n".join(lines) + "\n"


def _interval(interval: tuple[float, float] | None, form: str) -> str:
    return (
        "" if interval is None else f" ({form.format(interval[0])} to {form.format(interval[1])})"
    )


def _ratio(row: dict[str, Any]) -> str:
    if row["ratio"] is None:
        return "–"
    return f"{row['ratio']:.2f}{_interval(row['ratio_ci95'], '{:.2f}')}"
