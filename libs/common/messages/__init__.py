"""The event contracts between services: tagged msgspec structs, JSON on the wire.

A new field goes to the end and has a default. A breaking change is a new tag with an
upcaster. Golden bytes of every version are in `tests/libs/common/golden/`.
"""

from libs.common.messages.base import (
    Cause,
    Envelope,
    Message,
    Provenance,
    Side,
    derived_id,
    envelope,
)
from libs.common.messages.codec import (
    ANY_MESSAGE,
    MESSAGE_TYPES,
    BadMessage,
    decode,
    encode,
    tag_of,
)
from libs.common.messages.evidence import (
    EvBin,
    FeeRules,
    Override,
    OverrideKind,
    PanicLatch,
    SeriesReadiness,
    SettledEvidence,
)
from libs.common.messages.market import (
    ClockSample,
    FairLadder,
    IndexTick,
    LadderDefined,
    LadderSnapshot,
    PriceRange,
)
from libs.common.messages.orders import (
    OPEN_STATES,
    BrokerEpoch,
    ExchangeSettlement,
    Fill,
    OrderIntent,
    OrderState,
    OrderUpdate,
    Settlement,
)
from libs.common.messages.status import (
    DeadLetter,
    ExchangeStatus,
    FeedStatus,
    Heartbeat,
    KillSwitch,
    LedgerStatus,
    MonitorResult,
    Reconciliation,
    ServiceState,
)
from libs.common.messages.trading import GateResult, Proposal, Quote, SizedQuote, Verdict

__all__ = [
    "ANY_MESSAGE",
    "MESSAGE_TYPES",
    "OPEN_STATES",
    "BadMessage",
    "BrokerEpoch",
    "Cause",
    "ClockSample",
    "DeadLetter",
    "Envelope",
    "EvBin",
    "ExchangeSettlement",
    "ExchangeStatus",
    "FairLadder",
    "FeeRules",
    "FeedStatus",
    "Fill",
    "GateResult",
    "Heartbeat",
    "IndexTick",
    "KillSwitch",
    "LadderDefined",
    "LadderSnapshot",
    "LedgerStatus",
    "Message",
    "MonitorResult",
    "OrderIntent",
    "OrderState",
    "OrderUpdate",
    "Override",
    "OverrideKind",
    "PanicLatch",
    "PriceRange",
    "Proposal",
    "Provenance",
    "Quote",
    "Reconciliation",
    "SeriesReadiness",
    "ServiceState",
    "SettledEvidence",
    "Settlement",
    "Side",
    "SizedQuote",
    "Verdict",
    "decode",
    "derived_id",
    "encode",
    "envelope",
    "tag_of",
]
