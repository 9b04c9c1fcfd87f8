"""Encode and decode: one encoder and one decoder for the union of all messages."""

from typing import Union

import msgspec

from libs.common.messages.base import Message
from libs.common.messages.evidence import (
    FeeRules,
    Override,
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
)
from libs.common.messages.orders import (
    BrokerEpoch,
    ExchangeSettlement,
    Fill,
    OrderIntent,
    OrderUpdate,
    Settlement,
)
from libs.common.messages.status import (
    DeadLetter,
    ExchangeSession,
    ExchangeStatus,
    FeedStatus,
    Heartbeat,
    LedgerStatus,
    MonitorResult,
    Reconciliation,
)
from libs.common.messages.trading import Proposal, Verdict

MESSAGE_TYPES: tuple[type[Message], ...] = (
    IndexTick,
    ClockSample,
    LadderDefined,
    LadderSnapshot,
    FairLadder,
    Proposal,
    Verdict,
    BrokerEpoch,
    OrderIntent,
    OrderUpdate,
    Fill,
    ExchangeSettlement,
    Settlement,
    Heartbeat,
    FeedStatus,
    ExchangeStatus,
    ExchangeSession,
    MonitorResult,
    Reconciliation,
    LedgerStatus,
    SeriesReadiness,
    SettledEvidence,
    FeeRules,
    Override,
    PanicLatch,
    DeadLetter,
)
ANY_MESSAGE = Union[MESSAGE_TYPES]  # type: ignore[valid-type]  # noqa: UP007
MAX_MESSAGE_BYTES = 1_000_000

_encoder = msgspec.json.Encoder()
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(ANY_MESSAGE)


class BadMessage(ValueError):
    """The bytes are not one of our messages; the text says what was expected and what came."""


def encode(message: Message) -> bytes:
    """Return the wire bytes of a message."""
    return _encoder.encode(message)


def decode(data: bytes) -> Message:
    """Return the message in `data`; raise `BadMessage` for anything else."""
    if len(data) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"expected at most {MAX_MESSAGE_BYTES} bytes, got {len(data)}")
    try:
        return _decoder.decode(data)
    except (msgspec.DecodeError, AssertionError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(str(error) or type(error).__name__) from error


def tag_of(message_type: type[Message]) -> str:
    """Return the `type` tag that the wire bytes of this message carry."""
    tag = message_type.__struct_config__.tag
    assert isinstance(tag, str)
    return tag
