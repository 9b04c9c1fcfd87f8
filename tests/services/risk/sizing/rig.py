"""A sizing desk that knows one ladder and its fair prices, and policies that limit nothing."""

from libs.common.messages import (
    FairLadder,
    LadderDefined,
    PriceRange,
    Proposal,
    Quote,
    SizedQuote,
)
from services.risk.sizing.chain import STEPS
from services.risk.sizing.desk import SizingDesk
from services.risk.sizing.policy import (
    CorrelationPolicy,
    KellyPolicy,
    PalPolicy,
    PilotPolicy,
    PortfolioPolicy,
    SizeLadderPolicy,
    SizingPolicy,
    Stage,
)
from services.risk.sizing.report import Sizing
from tests.services.risk import builders

DOLLAR = 1_000_000
WIDE_E6 = 10**15
NO_STAGE = SizeLadderPolicy(stages={"A": Stage(count_max_e2=10**9, rungs_max=1_000)})
NO_PORTFOLIO = PortfolioPolicy(
    factor_var_max_e6=WIDE_E6,
    group_loss_max_e6={"SPX": WIDE_E6, "NDX": WIDE_E6},
    loss_day_max_e6=WIDE_E6,
    loss_week_max_e6=WIDE_E6,
)
NO_CORRELATION = CorrelationPolicy(
    portfolio_var_max_e6=WIDE_E6, family_var_max_e6=WIDE_E6, tilt_max_e6=WIDE_E6
)
RICH = KellyPolicy(bankroll_e6=10**14)


def wide(**changes) -> SizingPolicy:
    """A policy in which only what is named can bind, and PAL at $1,000."""
    fields = {
        "kelly": RICH,
        "portfolio": NO_PORTFOLIO,
        "correlation": NO_CORRELATION,
        "size_ladder": NO_STAGE,
        "pilot": PilotPolicy(active=False),
    }
    return SizingPolicy(**(fields | changes))


NO_PAL = PalPolicy(family_e6={"INXU": WIDE_E6, "NASDAQ100U": WIDE_E6, "INX": WIDE_E6})


class Desk:
    """A desk with one nested event of three rungs, like the builders'; more can be added."""

    def __init__(self, policy: SizingPolicy, probabilities=(0.9, 0.5, 0.1)):
        self.desk = SizingDesk(policy)
        self.desk.define(builders.definition(), builders.NOW)
        self.fair(probabilities)
        self._sequences: dict[str, int] = {}

    def fair(self, probabilities, now_ns=builders.NOW, **changes):
        fields = {
            name: getattr(builders.fair(now_ns), name) for name in FairLadder.__struct_fields__
        }
        fair = FairLadder(**(fields | {"probabilities": tuple(probabilities)} | changes))
        self.desk.fair(fair, now_ns)

    def told(self, *messages):
        for message in messages:
            stream = (
                "FILLS" if type(message).__name__ in ("Fill", "ExchangeSettlement") else "ORDERS"
            )
            self._sequences[stream] = self._sequences.get(stream, 0) + 1
            self.desk.apply(message, stream, self._sequences[stream])
        return self

    def size(self, *quotes: Quote, now_ns=builders.NOW, **changes) -> Sizing:
        proposal = builders.proposal(now_ns, quotes, **changes)
        return self.desk.size(proposal, now_ns)

    def counts(self, *quotes: Quote, **changes) -> list[tuple[int, str]]:
        return [(q.count_e2, q.limited_by) for q in self.size(*quotes, **changes).quotes]


def desk(*messages, policy=None, probabilities=(0.9, 0.5, 0.1)) -> Desk:
    return Desk(policy or wide(), probabilities).told(*messages)


def failed(sizing: Sizing) -> list[tuple[str, str]]:
    return [(gate.gate, gate.reason) for gate in sizing.gates if not gate.ok]


def steps(quote: SizedQuote) -> dict[str, int]:
    return dict(zip(STEPS, quote.left_e2, strict=True))


def nested(rungs: int, event=builders.EVENT, step=10, series="KXINXU", family="INXU"):
    """Return a nested ladder of so many thresholds, named by their numbers."""
    return LadderDefined(
        **builders.envelope(f"definition-{event}-{rungs}", builders.NOW),
        event_ticker=event,
        series_ticker=series,
        ladder_id=f"ladder-{rungs}",
        family=family,
        symbol="I:SPX",
        kind="nested",
        target_ns=builders.TARGET,
        close_ns=builders.TARGET,
        tickers=tuple(f"{event}-T{5_000 + step * rung}" for rung in range(rungs)),
        strike_types=("greater",) * rungs,
        floors_e4=tuple((5_000 + step * rung) * 10_000 for rung in range(rungs)),
        caps_e4=(None,) * rungs,
        price_ranges=(PriceRange(0, 10_000, 100),),
    )


def proposal_of(definition: LadderDefined, quotes, now_ns=builders.NOW) -> Proposal:
    return builders.proposal(
        now_ns,
        quotes,
        event_ticker=definition.event_ticker,
        series_ticker=definition.series_ticker,
        family=definition.family,
        ladder_id=definition.ladder_id,
    )


def fair_of(ladder: LadderDefined, probabilities, now_ns=builders.NOW) -> FairLadder:
    plain = builders.fair(now_ns)
    fields = {name: getattr(plain, name) for name in FairLadder.__struct_fields__}
    own = {
        "id": f"fair-{ladder.event_ticker}-{now_ns}",
        "event_ticker": ladder.event_ticker,
        "series_ticker": ladder.series_ticker,
        "ladder_id": ladder.ladder_id,
        "probabilities": tuple(probabilities),
    }
    return FairLadder(**(fields | own))
