from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class KillSwitchRequest(_message.Message):
    __slots__ = ("reason", "by")
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    reason: str
    by: str
    def __init__(self, reason: _Optional[str] = ..., by: _Optional[str] = ...) -> None: ...

class CancelReply(_message.Message):
    __slots__ = ("confirmed_zero", "resting", "unknown", "elapsed_ms", "detail")
    CONFIRMED_ZERO_FIELD_NUMBER: _ClassVar[int]
    RESTING_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_MS_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    confirmed_zero: bool
    resting: int
    unknown: int
    elapsed_ms: float
    detail: str
    def __init__(self, confirmed_zero: _Optional[bool] = ..., resting: _Optional[int] = ..., unknown: _Optional[int] = ..., elapsed_ms: _Optional[float] = ..., detail: _Optional[str] = ...) -> None: ...

class GetStateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class BrokerState(_message.Message):
    __slots__ = ("kill_switch_engaged", "kill_switch_reason", "kill_switch_by", "kill_switch_at_ns", "epoch", "accepting_verdicts", "resting", "unknown", "detail")
    KILL_SWITCH_ENGAGED_FIELD_NUMBER: _ClassVar[int]
    KILL_SWITCH_REASON_FIELD_NUMBER: _ClassVar[int]
    KILL_SWITCH_BY_FIELD_NUMBER: _ClassVar[int]
    KILL_SWITCH_AT_NS_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    ACCEPTING_VERDICTS_FIELD_NUMBER: _ClassVar[int]
    RESTING_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    kill_switch_engaged: bool
    kill_switch_reason: str
    kill_switch_by: str
    kill_switch_at_ns: int
    epoch: int
    accepting_verdicts: bool
    resting: int
    unknown: int
    detail: str
    def __init__(self, kill_switch_engaged: _Optional[bool] = ..., kill_switch_reason: _Optional[str] = ..., kill_switch_by: _Optional[str] = ..., kill_switch_at_ns: _Optional[int] = ..., epoch: _Optional[int] = ..., accepting_verdicts: _Optional[bool] = ..., resting: _Optional[int] = ..., unknown: _Optional[int] = ..., detail: _Optional[str] = ...) -> None: ...

class ListOrdersRequest(_message.Message):
    __slots__ = ("include_ended",)
    INCLUDE_ENDED_FIELD_NUMBER: _ClassVar[int]
    include_ended: bool
    def __init__(self, include_ended: _Optional[bool] = ...) -> None: ...

class OrderList(_message.Message):
    __slots__ = ("orders",)
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    orders: _containers.RepeatedCompositeFieldContainer[Order]
    def __init__(self, orders: _Optional[_Iterable[_Union[Order, _Mapping]]] = ...) -> None: ...

class Order(_message.Message):
    __slots__ = ("client_order_id", "order_id", "event_ticker", "ticker", "side", "price_e4", "count_e2", "filled_e2", "state")
    CLIENT_ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORDER_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_TICKER_FIELD_NUMBER: _ClassVar[int]
    TICKER_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    PRICE_E4_FIELD_NUMBER: _ClassVar[int]
    COUNT_E2_FIELD_NUMBER: _ClassVar[int]
    FILLED_E2_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    client_order_id: str
    order_id: str
    event_ticker: str
    ticker: str
    side: str
    price_e4: int
    count_e2: int
    filled_e2: int
    state: str
    def __init__(self, client_order_id: _Optional[str] = ..., order_id: _Optional[str] = ..., event_ticker: _Optional[str] = ..., ticker: _Optional[str] = ..., side: _Optional[str] = ..., price_e4: _Optional[int] = ..., count_e2: _Optional[int] = ..., filled_e2: _Optional[int] = ..., state: _Optional[str] = ...) -> None: ...

class CancelAllRequest(_message.Message):
    __slots__ = ("event_ticker", "reason")
    EVENT_TICKER_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    event_ticker: str
    reason: str
    def __init__(self, event_ticker: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ResetOrderGroupRequest(_message.Message):
    __slots__ = ("event_ticker",)
    EVENT_TICKER_FIELD_NUMBER: _ClassVar[int]
    event_ticker: str
    def __init__(self, event_ticker: _Optional[str] = ...) -> None: ...
