"""The pricer's wiring: ticks, ladders and our orders in; fair ladders and proposals out.

It has no adapters: calibrations are read once at the start, all else comes over the bus.
"""

import asyncio
from pathlib import Path

from libs.common.config import ConfigError
from libs.common.inbox import place_of
from libs.common.messages import IndexTick, Message, Proposal
from libs.common.metrics import Metrics
from libs.common.runner import AppBase, Context
from libs.common.topology import Service
from libs.domain.eastern import NS_PER_MINUTE
from services.pricer.artifacts import load_calibration, load_fills
from services.pricer.calibration import Calibration, CalibrationError
from services.pricer.config import PricerConfig
from services.pricer.core import PricerCore
from services.pricer.fills import FillModel
from services.pricer.models.contract import trading_day


class PricerApp(AppBase):
    """Run the pricer: quote sets from one distribution per event."""

    service = Service.PRICER

    def __init__(self, config: PricerConfig) -> None:
        fills = load_fill_model(config.fills)
        self.core = PricerCore(config.policy, load_calibrations(config.calibrations), fills)

    async def recover(self, context: Context) -> None:
        """Fold our orders, to tell the books of others from ours, and today's ticks."""

        def fold(message: Message, sequence: int) -> None:
            self.core.own.apply(message, "ORDERS", sequence)

        await context.read_back("ORDERS", fold)

        def watch(message: Message, _sequence: int) -> None:
            if isinstance(message, IndexTick):
                self.core.today.fold(message)

        now_ns = context.now_ns()
        opened_ns = session_open_ns(now_ns)
        if opened_ns is not None:
            after = await place_of(context.bus, "TICKS", opened_ns - NS_PER_MINUTE, now_ns)
            await context.read_back("TICKS", watch, after=after)
        for family, calibration in self.core.calibrations.items():
            context.log.info(
                "calibration",
                calibration_id=calibration.id_for(family),
                model=calibration.model,
                age_days=round(calibration.age_days(now_ns), 1),
                window=f"{calibration.window_start}..{calibration.window_end}",
            )

        fills = self.core.fills
        context.log.info(
            "fill model",
            fills_id=fills.id,
            provenance=fills.provenance,
            window=f"{fills.window_start}..{fills.window_end}",
            counts=fills.counts,
        )

    async def run(self, context: Context) -> None:
        """Wait: everything comes over the bus."""
        await asyncio.Event().wait()

    def observe(self, message: Message, metrics: Metrics) -> None:
        if isinstance(message, Proposal):
            metrics.proposals_total.labels(message.family).inc()

    def detail(self) -> str:
        return self.core.summary()


def session_open_ns(now_ns: int) -> int | None:
    """Return when the session of this New York day opens, None for a day without one."""
    try:
        return trading_day(now_ns).open_ns
    except ValueError:  # no session, or no calendar for the day
        return None


def load_calibrations(paths: dict[str, str]) -> dict[str, Calibration]:
    """Read the artifact of each family; raises ConfigError in one line."""
    try:
        return {family: load_calibration(Path(path), family) for family, path in paths.items()}
    except CalibrationError as error:
        raise ConfigError(f"calibrations: {error}") from None


def load_fill_model(path: str | None) -> FillModel:
    """Read the fill model, or return the defaults; raises ConfigError in one line."""
    try:
        return load_fills(Path(path)) if path else FillModel()
    except CalibrationError as error:
        raise ConfigError(f"fills: {error}") from None
