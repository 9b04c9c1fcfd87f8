"""Decisions: proposals of the pricer, verdicts of risk."""

from typing import Literal

from msgspec import Struct

from libs.common.messages.base import (
    CountE2,
    Message,
    MoneyE6,
    Name,
    Nanoseconds,
    PriceE4,
    Probability,
    Provenance,
    Side,
    SignedCountE2,
    Text,
)


class Quote(Struct, frozen=True, kw_only=True, gc=False):
    """One order that the pricer wants to rest: a bid or an ask on YES."""

    ticker: Name
    side: Side
    price_e4: PriceE4
    count_e2: CountE2
    probability: Probability
    ev_per_contract_e6: MoneyE6
    fill_probability: Probability
    slippage_e6: MoneyE6 = 0


class Proposal(Message, frozen=True, kw_only=True, tag="proposal.1"):
    """The whole quote set that the pricer wants for one event now; empty is a normal value.

    `level_ns` is when the index level behind it was known, `books_ns` when the ladder was
    last heard of; `reasons` say why quotes are missing. A calibration's age counts from
    `calibration_data_end_ns`, its newest observation: a fresh fit of old data is old.
    """

    event_ticker: Name
    series_ticker: Name
    family: Name
    target_ns: Nanoseconds
    expires_at_ns: Nanoseconds
    quotes: tuple[Quote, ...]
    reasons: tuple[Text, ...]
    ladder_id: Text
    level_ns: Nanoseconds
    books_ns: Nanoseconds
    calibration_id: Text
    calibration_fitted_ns: Nanoseconds
    provenance: Provenance
    calibration_data_end_ns: Nanoseconds = 0


class GateResult(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """What one gate measured, against which limit, and its reason code when it says no.

    An `advisory` gate is shown and does not decide: its evidence counts with real money alone.
    A verdict has some thirty of these, so what is at its default is not written.
    """

    gate: Name
    ok: bool
    reason: Text = ""
    measured: float | None = None
    limit: float | None = None
    unit: Text = ""
    detail: Text = ""
    advisory: bool = False

    @property
    def refuses(self) -> bool:
        """Return whether this gate alone makes a NO-GO."""
        return not self.ok and not self.advisory


class SizingStep(Struct, frozen=True, gc=False):
    """What one step of sizing left of a quote, as verdicts said it before `left_e2`."""

    step: Name
    left_e2: CountE2


class SizedQuote(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """A quote that risk approved, with the count it may have and what limited it.

    `left_e2` is what each of the verdict's `steps` left of it, from what was asked to what may
    rest; verdicts of before have it in `steps`. `position_e2` is what risk took us to hold
    (YES positive) when it sized the quote: whoever knows of more fills subtracts them.
    """

    ticker: Name
    side: Side
    price_e4: PriceE4
    count_e2: CountE2
    asked_count_e2: CountE2
    limited_by: Text
    probability: Probability
    ev_per_contract_e6: MoneyE6
    position_e2: SignedCountE2 | None = None
    steps: tuple[SizingStep, ...] = ()
    left_e2: tuple[CountE2, ...] = ()


class Verdict(Message, frozen=True, kw_only=True, tag="verdict.1"):
    """GO with sized quotes or NO-GO without; always every gate that was asked.

    Only `services.risk` builds one and it is the only thing that the broker acts on. A
    NO-GO means that nothing may rest for the event. Every quote rests until `expires_at_ns`
    at most. `withheld` are the quotes that sizing left nothing of, for people alone. `steps`
    names the steps of sizing in their order, one for each figure of a quote's `left_e2`.
    """

    decision: Literal["GO", "NO-GO"]
    proposal_id: Name
    event_ticker: Name
    series_ticker: Name
    family: Name
    target_ns: Nanoseconds
    expires_at_ns: Nanoseconds
    quotes: tuple[SizedQuote, ...]
    gates: tuple[GateResult, ...]
    provenance: Provenance
    config_hash: Name
    withheld: tuple[SizedQuote, ...] = ()
    steps: tuple[Name, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        assert {quote.count_e2 for quote in self.withheld} <= {0}, "withheld and yet sized"
        assert self.decision == "GO" or not self.quotes, "a NO-GO carries no quotes"
        told = {len(quote.left_e2) for quote in (*self.quotes, *self.withheld)}
        assert told <= {0, len(self.steps)}, f"{len(self.steps)} steps, quotes tell of {told}"
        failed = [gate.gate for gate in self.gates if not gate.ok and not gate.advisory]
        assert (self.decision == "GO") == (not failed), f"decision against gates: {failed}"
