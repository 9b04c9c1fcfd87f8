"""Which calibration prices a day: one artifact for all, or one fitted on what came before it."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from lab.backtest.spans import Span
from lab.index.history import before, load
from libs.domain.families import family_named
from services.pricer.calibration import Calibration
from services.pricer.models.contract import IndexModel
from services.pricer.models.history import FitError

Calibrations = dict[str, Calibration]
Choose = Callable[[Span], "Calibrations | str"]
"""Return the calibrations, by family, for a span, or why there are none."""


def always(calibrations: Calibrations) -> Choose:
    """Price every span with the same artifacts."""
    return lambda span: calibrations


def walk_forward(model: IndexModel, paths: Sequence[Path], families: Sequence[str]) -> Choose:
    """Fit before each day on everything that had ended by its first bar.

    Raises HistoryError for data that can't be used.
    """
    history = load(paths).history
    fitted: dict[date, Calibrations | str] = {}

    def choose(span: Span) -> Calibrations | str:
        if span.day not in fitted:
            fitted[span.day] = _fit(span.start_ns)
        return fitted[span.day]

    def _fit(start_ns: int) -> Calibrations | str:
        try:
            found = model.fit(before(history, start_ns), start_ns)
        except FitError as error:
            return f"nothing to fit on before it: {error}"
        return {
            name: found for name in families if family_named(name).index_symbol in found.symbols
        }

    return choose
