from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetBooksRequest(_message.Message):
    __slots__ = ("event_tickers",)
    EVENT_TICKERS_FIELD_NUMBER: _ClassVar[int]
    event_tickers: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, event_tickers: _Optional[_Iterable[str]] = ...) -> None: ...

class Books(_message.Message):
    __slots__ = ("account", "orders", "orders_accepted", "orders_by_state", "resting", "fills", "contracts_filled_e2", "gross_cash_e6", "fees_e6", "cash_flow_e6", "exchange_revenue_e6", "settlement_pnl_e6", "markets_settled", "markets_unsettled", "settlement_differences", "markets")
    class OrdersByStateEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    ACCOUNT_FIELD_NUMBER: _ClassVar[int]
    ORDERS_FIELD_NUMBER: _ClassVar[int]
    ORDERS_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ORDERS_BY_STATE_FIELD_NUMBER: _ClassVar[int]
    RESTING_FIELD_NUMBER: _ClassVar[int]
    FILLS_FIELD_NUMBER: _ClassVar[int]
    CONTRACTS_FILLED_E2_FIELD_NUMBER: _ClassVar[int]
    GROSS_CASH_E6_FIELD_NUMBER: _ClassVar[int]
    FEES_E6_FIELD_NUMBER: _ClassVar[int]
    CASH_FLOW_E6_FIELD_NUMBER: _ClassVar[int]
    EXCHANGE_REVENUE_E6_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_PNL_E6_FIELD_NUMBER: _ClassVar[int]
    MARKETS_SETTLED_FIELD_NUMBER: _ClassVar[int]
    MARKETS_UNSETTLED_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    MARKETS_FIELD_NUMBER: _ClassVar[int]
    account: str
    orders: int
    orders_accepted: int
    orders_by_state: _containers.ScalarMap[str, int]
    resting: int
    fills: int
    contracts_filled_e2: int
    gross_cash_e6: int
    fees_e6: int
    cash_flow_e6: int
    exchange_revenue_e6: int
    settlement_pnl_e6: int
    markets_settled: int
    markets_unsettled: int
    settlement_differences: _containers.RepeatedScalarFieldContainer[str]
    markets: _containers.RepeatedCompositeFieldContainer[MarketBooks]
    def __init__(self, account: _Optional[str] = ..., orders: _Optional[int] = ..., orders_accepted: _Optional[int] = ..., orders_by_state: _Optional[_Mapping[str, int]] = ..., resting: _Optional[int] = ..., fills: _Optional[int] = ..., contracts_filled_e2: _Optional[int] = ..., gross_cash_e6: _Optional[int] = ..., fees_e6: _Optional[int] = ..., cash_flow_e6: _Optional[int] = ..., exchange_revenue_e6: _Optional[int] = ..., settlement_pnl_e6: _Optional[int] = ..., markets_settled: _Optional[int] = ..., markets_unsettled: _Optional[int] = ..., settlement_differences: _Optional[_Iterable[str]] = ..., markets: _Optional[_Iterable[_Union[MarketBooks, _Mapping]]] = ...) -> None: ...

class MarketBooks(_message.Message):
    __slots__ = ("ticker", "event_ticker", "fills", "contracts_filled_e2", "position_e2", "cost_e6", "fees_e6", "result", "settlement_pnl_e6")
    TICKER_FIELD_NUMBER: _ClassVar[int]
    EVENT_TICKER_FIELD_NUMBER: _ClassVar[int]
    FILLS_FIELD_NUMBER: _ClassVar[int]
    CONTRACTS_FILLED_E2_FIELD_NUMBER: _ClassVar[int]
    POSITION_E2_FIELD_NUMBER: _ClassVar[int]
    COST_E6_FIELD_NUMBER: _ClassVar[int]
    FEES_E6_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    SETTLEMENT_PNL_E6_FIELD_NUMBER: _ClassVar[int]
    ticker: str
    event_ticker: str
    fills: int
    contracts_filled_e2: int
    position_e2: int
    cost_e6: int
    fees_e6: int
    result: str
    settlement_pnl_e6: int
    def __init__(self, ticker: _Optional[str] = ..., event_ticker: _Optional[str] = ..., fills: _Optional[int] = ..., contracts_filled_e2: _Optional[int] = ..., position_e2: _Optional[int] = ..., cost_e6: _Optional[int] = ..., fees_e6: _Optional[int] = ..., result: _Optional[str] = ..., settlement_pnl_e6: _Optional[int] = ...) -> None: ...

class QueryRequest(_message.Message):
    __slots__ = ("sql",)
    SQL_FIELD_NUMBER: _ClassVar[int]
    sql: str
    def __init__(self, sql: _Optional[str] = ...) -> None: ...

class QueryReply(_message.Message):
    __slots__ = ("columns", "rows_json", "row_count")
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    ROWS_JSON_FIELD_NUMBER: _ClassVar[int]
    ROW_COUNT_FIELD_NUMBER: _ClassVar[int]
    columns: _containers.RepeatedScalarFieldContainer[str]
    rows_json: str
    row_count: int
    def __init__(self, columns: _Optional[_Iterable[str]] = ..., rows_json: _Optional[str] = ..., row_count: _Optional[int] = ...) -> None: ...

class WriteReportRequest(_message.Message):
    __slots__ = ("event_tickers", "session")
    EVENT_TICKERS_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    event_tickers: _containers.RepeatedScalarFieldContainer[str]
    session: str
    def __init__(self, event_tickers: _Optional[_Iterable[str]] = ..., session: _Optional[str] = ...) -> None: ...

class WriteReportReply(_message.Message):
    __slots__ = ("markdown_path", "json_path", "books_agree", "problems")
    MARKDOWN_PATH_FIELD_NUMBER: _ClassVar[int]
    JSON_PATH_FIELD_NUMBER: _ClassVar[int]
    BOOKS_AGREE_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    markdown_path: str
    json_path: str
    books_agree: bool
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, markdown_path: _Optional[str] = ..., json_path: _Optional[str] = ..., books_agree: _Optional[bool] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class GetWatermarksRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Watermarks(_message.Message):
    __slots__ = ("streams", "rows")
    STREAMS_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    streams: _containers.RepeatedCompositeFieldContainer[StreamPlace]
    rows: int
    def __init__(self, streams: _Optional[_Iterable[_Union[StreamPlace, _Mapping]]] = ..., rows: _Optional[int] = ...) -> None: ...

class StreamPlace(_message.Message):
    __slots__ = ("stream", "watermark", "missing")
    STREAM_FIELD_NUMBER: _ClassVar[int]
    WATERMARK_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    stream: str
    watermark: int
    missing: int
    def __init__(self, stream: _Optional[str] = ..., watermark: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...
