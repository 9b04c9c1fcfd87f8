"""What is refused, with the status and the body that the exchange gives."""

import time
from typing import Any

import httpx

from tests.conformance.cases import case
from tests.conformance.market import PRICE, order, place, quiet_market, take
from tests.conformance.sdk import Sdk
from tests.conformance.simulator import Simulator
from tests.lab.exchange.schemas import check_object

NO_MARKET = "KXINXU-26OCT02H1100-T1"
BALANCE = "/portfolio/balance"
ORDERS = "/portfolio/events/orders"


def error_of(body: Any) -> tuple[str, str | None]:
    """Return code and details of a nested error, which is what the official schema wants."""
    check_object("ErrorResponse", body["error"])
    return body["error"]["code"], body["error"].get("details")


@case("C40", "GetMarket", "GetMarketOrderbook", "GetEvent", "CreateOrderV2", "GetOrder")
async def test_unknown_things(sdk: Sdk) -> None:
    """404 not_found for what is not there; an order for an unknown market is refused."""
    for operation, name in (
        ("GetMarket", "ticker"),
        ("GetMarketOrderbook", "ticker"),
        ("GetEvent", "event_ticker"),
        ("GetOrder", "order_id"),
    ):
        status, body = await sdk.refused(operation, None, **{name: NO_MARKET})
        assert (status, error_of(body)[0]) == (404, "not_found"), operation
    status, body = await sdk.refused("CreateOrderV2", order(NO_MARKET, "bid", 50, "1.00"))
    assert status in (400, 404)
    assert error_of(body)[0]


@case("C41")
async def test_each_401(sdk: Sdk) -> None:
    """The four refusals of kalshi-api.md section 1, each with its own body."""
    path = "/trade-api/v2" + BALANCE
    good = sdk.auth.create_auth_headers("GET", path)
    late = str(int(time.time() * 1000) - 120_000)
    cases = (
        (sdk.auth.create_auth_headers("POST", path), "INCORRECT_API_KEY_SIGNATURE"),
        ({**good, "KALSHI-ACCESS-KEY": "00000000-0000-0000-0000-000000000000"}, "NOT_FOUND"),
    )
    for headers, details in cases:
        answer = await sdk.raw("GET", BALANCE, headers=headers, sign=False)
        assert answer.status_code == 401
        assert answer.json() == {
            "error": {
                "code": "authentication_error",
                "message": "authentication_error",
                "details": details,
            }
        }
    for headers, code, message in (
        (
            {key: value for key, value in good.items() if not key.endswith("SIGNATURE")},
            "signature_is_missing_from_headers",
            "signature is missing from headers",
        ),
        (
            {**good, "KALSHI-ACCESS-TIMESTAMP": late},
            "header_timestamp_expired",
            "header timestamp expired",
        ),
    ):
        answer = await sdk.raw("GET", BALANCE, headers=headers, sign=False)
        assert answer.status_code == 401
        assert answer.json() == {"error": {"code": code, "message": message}}


@case("C42", "CreateOrderV2")
async def test_orders_that_are_refused(sdk: Sdk, other: Sdk) -> None:
    """Balance, post-only cross, off the grid, no size, past expiry: nested 400s by code."""
    ticker, price = await quiet_market(sdk), PRICE
    offered = await place(other, ticker, "ask", price, "1.00", post_only=True)
    for changes, code, details in (
        ({"count": "99000000.00"}, "insufficient_balance", None),
        ({"post_only": True}, "invalid_order", "post only cross"),
        ({"price": f"{price / 100 + 0.005:.4f}"}, "invalid_price", None),
        ({"count": "0.00"}, "invalid_order_size", None),
        (
            {"expiration_time": int(time.time()) - 60},
            "invalid_order",
            "Expiration timestamp must be in the future",
        ),
    ):
        refusal = await sdk.refused(
            "CreateOrderV2", {**order(ticker, "bid", price, "1.00"), **changes}
        )
        assert (refusal[0], *error_of(refusal[1])) == (400, code, details), changes
    await other.ask("CancelOrderV2", order_id=offered["order_id"])


@case("C43", "CreateOrderV2", "CancelOrderV2")
async def test_a_client_order_id_is_used_once_for_ever(sdk: Sdk) -> None:
    """409 order_already_exists, also after the first order was cancelled."""
    request = order(await quiet_market(sdk), "bid", PRICE, "1.00", post_only=True)
    placed = await sdk.ask("CreateOrderV2", request)
    for _ in range(2):
        status, body = await sdk.refused("CreateOrderV2", request)
        assert (status, error_of(body)[0]) == (409, "order_already_exists")
        if placed:
            await sdk.ask("CancelOrderV2", order_id=placed["order_id"])
            placed = None


@case("C44", "CancelOrderV2", "AmendOrderV2")
async def test_what_is_done_is_not_found(sdk: Sdk, other: Sdk) -> None:
    """Cancelling again, an executed order, or a stranger's id: 404; so does amending it."""
    ticker, price = await quiet_market(sdk), PRICE
    placed = await place(sdk, ticker, "bid", price, "1.00", post_only=True)
    order_id = placed["order_id"]
    await sdk.ask("CancelOrderV2", order_id=order_id)
    executed = (await take(sdk, other, ticker))["order_id"]
    for done in (order_id, executed, "00000000-0000-0000-0000-000000000000"):
        status, body = await sdk.refused("CancelOrderV2", order_id=done)
        assert (status, error_of(body)[0]) == (404, "not_found")
    change = order(ticker, "bid", price, "2.00")
    wanted = {name: change[name] for name in ("ticker", "side", "price", "count")}
    status, _ = await sdk.refused("AmendOrderV2", wanted, order_id=order_id)
    assert status in (400, 404)


@case("C45", "AmendOrderV2", "CreateOrderV2")
async def test_amendments_that_do_not_fit(sdk: Sdk) -> None:
    """An amend that names another side, market or client order id than the order's."""
    ticker, price = await quiet_market(sdk), PRICE
    request = order(ticker, "bid", price, "1.00", post_only=True)
    order_id = (await sdk.ask("CreateOrderV2", request))["order_id"]
    wanted = {name: request[name] for name in ("ticker", "side", "price", "count")}
    for change, code in (
        ({"side": "ask"}, "order_side_mismatch"),
        ({"ticker": NO_MARKET}, "order_ticker_mismatch"),
        ({"client_order_id": "another"}, "order_id_and_client_order_id_mismatch"),
    ):
        status, body = await sdk.refused("AmendOrderV2", {**wanted, **change}, order_id=order_id)
        assert (status, error_of(body)[0]) == (400, code)
    await sdk.ask("CancelOrderV2", order_id=order_id)


@case("C46")
async def test_the_writes_of_v1_are_gone(sdk: Sdk) -> None:
    """410 deprecated_v1_order_endpoint for each of the old writes; its reads remain."""
    old = "/portfolio/orders"
    for method, path in (
        ("POST", old),
        ("POST", f"{old}/batched"),
        ("DELETE", f"{old}/batched"),
        ("DELETE", f"{old}/some-id"),
        ("POST", f"{old}/some-id/amend"),
        ("POST", f"{old}/some-id/decrease"),
    ):
        answer = await sdk.raw(method, path, body={})
        code, details = error_of(answer.json())
        assert (answer.status_code, code) == (410, "deprecated_v1_order_endpoint")
        assert details
    assert (await sdk.raw("GET", old)).status_code == 200


@case("C47")
async def test_the_flat_shape_of_wrong_types(sdk: Sdk) -> None:
    """A count as a JSON number, and a body that is no JSON: 400 {code, message, details}."""
    number = {**order(await quiet_market(sdk), "bid", PRICE, "1.00"), "count": 1}
    for body in (number, ["no object"], 7):
        answer = await sdk.raw("POST", ORDERS, body=body)
        assert answer.status_code == 400
        assert set(answer.json()) == {"code", "message", "details"}


@case("C48")
async def test_the_bare_shape_of_wrong_queries(sdk: Sdk) -> None:
    """A limit over the maximum: 400 {msg}, and a trailing slash is a 301."""
    for path in ("/markets?limit=1001", "/events?limit=201", "/portfolio/fills?limit=1001"):
        answer = await sdk.raw("GET", path)
        assert (answer.status_code, set(answer.json())) == (400, {"msg"}), path
    assert (await sdk.raw("GET", "/markets/")).status_code == 301


@case("C49", "GetMarkets", "GetFills")
async def test_a_garbage_cursor_is_the_first_page(sdk: Sdk) -> None:
    """200 and the first page, as recorded: guard your loops."""
    first = await sdk.ask("GetMarkets", limit=3)
    garbage = await sdk.ask("GetMarkets", limit=3, cursor="garbage!")
    names = [[market["ticker"] for market in page["markets"]] for page in (first, garbage)]
    assert names[0] == names[1]
    await sdk.ask("GetFills", limit=3, cursor="e30=")


@case("C51")
async def test_strangers_are_limited_by_address(live: Simulator) -> None:
    """Reads without a key get 429 after a burst, and a signed one is not concerned."""
    async with httpx.AsyncClient() as http:
        statuses = [(await http.get(f"{live.base}/exchange/status")).status_code for _ in range(40)]
    assert statuses[0] == 200
    assert 429 in statuses
    key = live.keys["other", "rsa"]
    client = Sdk("sync", live.base, key)
    assert (await client.ask("GetExchangeStatus"))["exchange_active"] is True
    await client.close()
