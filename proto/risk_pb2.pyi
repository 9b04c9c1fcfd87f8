from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class OverrideRequest(_message.Message):
    __slots__ = ("override_json",)
    OVERRIDE_JSON_FIELD_NUMBER: _ClassVar[int]
    override_json: bytes
    def __init__(self, override_json: _Optional[bytes] = ...) -> None: ...

class OverrideReply(_message.Message):
    __slots__ = ("in_force", "refusal", "explanation")
    IN_FORCE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    in_force: bool
    refusal: str
    explanation: str
    def __init__(self, in_force: _Optional[bool] = ..., refusal: _Optional[str] = ..., explanation: _Optional[str] = ...) -> None: ...

class RiskStateRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RiskState(_message.Message):
    __slots__ = ("mode", "config_hash", "panic_latched_by", "overrides", "overrides_refused", "verdicts")
    class OverridesRefusedEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    MODE_FIELD_NUMBER: _ClassVar[int]
    CONFIG_HASH_FIELD_NUMBER: _ClassVar[int]
    PANIC_LATCHED_BY_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_REFUSED_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    mode: str
    config_hash: str
    panic_latched_by: _containers.RepeatedScalarFieldContainer[str]
    overrides: _containers.RepeatedCompositeFieldContainer[OverrideInForce]
    overrides_refused: _containers.ScalarMap[str, int]
    verdicts: _containers.RepeatedCompositeFieldContainer[NewestVerdict]
    def __init__(self, mode: _Optional[str] = ..., config_hash: _Optional[str] = ..., panic_latched_by: _Optional[_Iterable[str]] = ..., overrides: _Optional[_Iterable[_Union[OverrideInForce, _Mapping]]] = ..., overrides_refused: _Optional[_Mapping[str, int]] = ..., verdicts: _Optional[_Iterable[_Union[NewestVerdict, _Mapping]]] = ...) -> None: ...

class OverrideInForce(_message.Message):
    __slots__ = ("nonce", "kind", "scope", "value", "reason", "by", "issued_ns", "expires_ns")
    NONCE_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCOPE_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    BY_FIELD_NUMBER: _ClassVar[int]
    ISSUED_NS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_NS_FIELD_NUMBER: _ClassVar[int]
    nonce: str
    kind: str
    scope: str
    value: str
    reason: str
    by: str
    issued_ns: int
    expires_ns: int
    def __init__(self, nonce: _Optional[str] = ..., kind: _Optional[str] = ..., scope: _Optional[str] = ..., value: _Optional[str] = ..., reason: _Optional[str] = ..., by: _Optional[str] = ..., issued_ns: _Optional[int] = ..., expires_ns: _Optional[int] = ...) -> None: ...

class NewestVerdict(_message.Message):
    __slots__ = ("event_ticker", "decision", "at_ns", "expires_at_ns", "gates", "failed")
    EVENT_TICKER_FIELD_NUMBER: _ClassVar[int]
    DECISION_FIELD_NUMBER: _ClassVar[int]
    AT_NS_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_NS_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    event_ticker: str
    decision: str
    at_ns: int
    expires_at_ns: int
    gates: int
    failed: _containers.RepeatedCompositeFieldContainer[FailedGate]
    def __init__(self, event_ticker: _Optional[str] = ..., decision: _Optional[str] = ..., at_ns: _Optional[int] = ..., expires_at_ns: _Optional[int] = ..., gates: _Optional[int] = ..., failed: _Optional[_Iterable[_Union[FailedGate, _Mapping]]] = ...) -> None: ...

class FailedGate(_message.Message):
    __slots__ = ("gate", "reason", "detail", "advisory")
    GATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    ADVISORY_FIELD_NUMBER: _ClassVar[int]
    gate: str
    reason: str
    detail: str
    advisory: bool
    def __init__(self, gate: _Optional[str] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., advisory: _Optional[bool] = ...) -> None: ...
