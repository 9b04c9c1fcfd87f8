"""Plots of a score report as SVG, drawn by hand: three kinds of small charts need no library."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

WIDTH, HEIGHT, PAD = 560, 300, 48
COLOURS = ("#1f6feb", "#d1242f", "#8c959f", "#1a7f37")

Row = dict[str, Any]
Line = tuple[str, list[tuple[float, float]]]


def draw(report: Row, folder: Path) -> list[Path]:
    """Write CRPS and coverage by horizon for each family, and PIT histograms; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for family in dict.fromkeys(row["family"] for row in report["results"]):
        rows = [row for row in report["results"] if row["family"] == family]
        charts = {
            "crps": ("CRPS in points", _lines(rows, lambda row: row["crps"])),
            "coverage": ("share within the 80 % interval", _lines(rows, _coverage)),
        }
        for name, (label, lines) in charts.items():
            path = folder / f"{family}_{name}.svg"
            top = 1.0 if name == "coverage" else None
            path.write_text(_chart(f"{family}: {label}", lines, top), encoding="utf-8")
            written.append(path)
    for row in report["pit"]:
        if isinstance(row["horizon_min"], str):
            path = folder / f"{row['family']}_pit_{row['model']}.svg"
            path.write_text(_histogram(row), encoding="utf-8")
            written.append(path)
    return written


def _coverage(row: Row) -> float:
    return float(row["coverage_80"])


def _lines(rows: Sequence[Row], value: Callable[[Row], float]) -> list[Line]:
    models = dict.fromkeys(row["model"] for row in rows)
    return [
        (
            model,
            sorted(
                (float(row["horizon_min"]), value(row)) for row in rows if row["model"] == model
            ),
        )
        for model in models
    ]


def _chart(title: str, lines: Sequence[Line], top: float | None) -> str:
    right = max(x for _, points in lines for x, _ in points)
    high = top or max(y for _, points in lines for _, y in points) * 1.05 or 1.0
    body = []
    for place, (model, points) in enumerate(lines):
        colour = COLOURS[place % len(COLOURS)]
        path = " ".join(f"{_x(x, right):.1f},{_y(y, high):.1f}" for x, y in points)
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        body += [_dot(_x(x, right), _y(y, high), colour) for x, y in points]
        body.append(_text(PAD + 8 + place * 120, PAD - 12, model, colour))
    for share in (0.0, 0.5, 1.0):
        body.append(_text(4, _y(high * share, high), f"{high * share:.3g}"))
        body.append(_text(_x(right * share, right) - 6, HEIGHT - PAD + 18, f"{right * share:.0f}"))
    body.append(_text(WIDTH / 2 - 70, HEIGHT - 8, "minutes before the target"))
    return _frame(title, body)


def _histogram(row: Row) -> str:
    shares = row["histogram"]
    high = max(*shares, 0.2)
    step = (WIDTH - 2 * PAD) / len(shares)
    body = [
        f'<rect x="{PAD + place * step + 1:.1f}" y="{_y(share, high):.1f}" width="{step - 2:.1f}" '
        f'height="{HEIGHT - PAD - _y(share, high):.1f}" fill="{COLOURS[0]}"/>'
        for place, share in enumerate(shares)
    ]
    even = _y(1.0 / len(shares), high)
    body.append(f'<path d="M{PAD} {even:.1f}H{WIDTH - PAD}" stroke="{COLOURS[1]}"/>')
    by_days = row["p_by_days"]
    said = "too few days for a test" if by_days is None else f"p by days {by_days:.2g}"
    body.append(_text(PAD, HEIGHT - 8, f"n {row['n']}, {said}"))
    return _frame(f"{row['family']}, T−15 to T−1, {row['model']}: PIT", body)


def _frame(title: str, body: Sequence[str]) -> str:
    def parts() -> Iterator[str]:
        yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" '
        yield 'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" '
        yield f'fill="white"/>{_text(PAD, 16, title)}'
        yield f'<path d="M{PAD} {PAD}V{HEIGHT - PAD}H{WIDTH - PAD}" fill="none" stroke="#57606a"/>'
        yield from body
        yield "</svg>\n"

    return "".join(parts())


def _x(value: float, right: float) -> float:
    return PAD + (WIDTH - 2 * PAD) * value / right


def _y(value: float, high: float) -> float:
    return HEIGHT - PAD - (HEIGHT - 2 * PAD) * value / high


def _dot(x: float, y: float, colour: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5" fill="{colour}"/>'


def _text(x: float, y: float, text: str, colour: str = "#24292f") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}">{escape(text)}</text>'
