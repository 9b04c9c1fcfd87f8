"""What risk needs to be shown: readiness, settled evidence, fee rules; overrides and the latch."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from libs.common.messages.base import Message, MoneyE6, Name, Nanoseconds, Probability, Text

DELTAS_MAX = 500
BINS_MAX = 100
METRICS_MAX = 50
CHANGES_MAX = 500

OverrideKind = Literal["lift_panic", "acknowledge_fee_rules", "size_ladder_stage"]


class SeriesReadiness(Message, frozen=True, kw_only=True, tag="series_readiness.1"):
    """Whether a series may be traded with real money, as reporting finds it.

    A GO holds until `expires_ns`, for targets from `targets_from_ns` to `targets_until_ns`, and
    under the risk policy of `config_hash` alone; `reasons` say what is amiss.
    """

    series_ticker: Name
    go: bool
    reasons: tuple[Text, ...]
    targets_from_ns: Nanoseconds
    targets_until_ns: Nanoseconds
    config_hash: Text
    expires_ns: Nanoseconds


class EvBin(Struct, frozen=True, kw_only=True, gc=False):
    """Settled less expected P&L per contract of the trades whose probability was in this bin."""

    lower: Probability
    upper: Probability
    contracts_e2: Annotated[int, Meta(ge=0)]
    gap_e6: MoneyE6


class SettledEvidence(Message, frozen=True, kw_only=True, tag="settled_evidence.1"):
    """What a series' settled trades say of the model and of our expectations.

    `metrics` go by the names of configs/quality_gates.yaml; `deltas_bps` are settled less expected
    P&L of the newest trades, oldest first.
    """

    series_ticker: Name
    metrics: Annotated[dict[Name, float], Meta(max_length=METRICS_MAX)]
    deltas_bps: Annotated[tuple[float, ...], Meta(max_length=DELTAS_MAX)]
    bins: Annotated[tuple[EvBin, ...], Meta(max_length=BINS_MAX)]
    expires_ns: Nanoseconds


class FeeChangeTold(Struct, frozen=True, kw_only=True):
    """Fees that hold from a time on, for one event or with "" for the series.

    For an event None and None clear what it paid otherwise than its series.
    """

    event_ticker: Text
    from_ns: Nanoseconds
    fee_type: Text | None
    fee_multiplier: float | None


class FeeRules(Message, frozen=True, kw_only=True, tag="fee_rules.1"):
    """What the exchange publishes of a series' fees and rules; `facts_hash` is of all of it.

    `changes` are those that are scheduled for the series, and all of its open events.
    """

    series_ticker: Name
    fee_type: Text
    fee_multiplier: float
    contract_terms_url: Text
    facts_hash: Name
    changes: Annotated[tuple[FeeChangeTold, ...], Meta(max_length=CHANGES_MAX)] = ()


class Override(Message, frozen=True, kw_only=True, tag="override.1"):
    """An operator's signed word, which holds until `expires_ns`.

    `scope` is the series or family it is about ("" for all), `value` what it sets. The signature
    is the operator's, Ed25519 over `override_bytes` of libs/common/overrides.py, in hex.
    """

    nonce: Name
    kind: OverrideKind
    scope: Text
    value: Text
    reason: Text
    by: Text
    issued_ns: Nanoseconds
    expires_ns: Nanoseconds
    signature: Text


class PanicLatch(Message, frozen=True, kw_only=True, tag="panic_latch.1"):
    """Several monitors alerted: nothing is quoted on that New York day until it is lifted.

    `latched_ns` is 0 once it was lifted; `monitors` are those that alerted.
    """

    day: Name
    latched_ns: Nanoseconds
    monitors: tuple[Name, ...]
