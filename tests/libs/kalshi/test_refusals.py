"""One contract for two exchanges: what our client makes of a refusal is the same whether the
answer was recorded at the real one or comes from the simulator.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from libs.kalshi import endpoints as at
from libs.kalshi.errors import NotDoneError, RefusedError, error_of
from libs.kalshi.rest import KalshiClient
from libs.kalshi.signing import SIGNATURE_HEADER
from libs.kalshi.transport import AiohttpTransport
from tests.lab.exchange.harness import ED_ID, MARKET, S
from tests.libs.kalshi.desk import SIGNERS, Desk, desk_at, order
from tests.shared_data import shared_file

NOBODY = "00000000-0000-0000-0000-000000000000"
Refusal = Callable[[Desk], Awaitable[object]]


class WrongSigner:
    """Sign with a wrong key id, without a signature, or with that of another moment."""

    key_id = "key"

    def __init__(self, key_id: str = "", sign_ms: int = 0, *, drop: bool = False) -> None:
        self._key_id, self._sign_ms, self._drop = key_id, sign_ms, drop

    def sign(self, timestamp_ms: int, method: str, path: str) -> dict[str, str]:
        headers = SIGNERS["rsa"].sign(timestamp_ms, method, path)
        if self._sign_ms:
            other = SIGNERS["rsa"].sign(timestamp_ms + self._sign_ms, method, path)
            headers[SIGNATURE_HEADER] = other[SIGNATURE_HEADER]
        if self._key_id:
            headers["KALSHI-ACCESS-KEY"] = self._key_id
        if self._drop:
            del headers[SIGNATURE_HEADER]
        return headers


async def balance(desk: Desk, signer: WrongSigner) -> object:
    url = f"http://127.0.0.1:{desk.exchange.server.port}/trade-api/v2"
    client = KalshiClient(url, AiohttpTransport(), desk.clock, signer)
    try:
        return await client.balance()
    finally:
        await client.close()


async def again(desk: Desk) -> object:
    await desk.rest("once")
    return await desk.client.create_order(order("once"))


async def reuse(desk: Desk) -> object:
    await desk.client.cancel_order(await desk.rest("once"))
    return await desk.client.create_order(order("once"))


async def cancel_twice(desk: Desk) -> object:
    order_id = await desk.rest("once")
    await desk.client.cancel_order(order_id)
    return await desk.client.cancel_order(order_id)


async def cancel_filled(desk: Desk) -> object:
    desk.exchange.other_places("ask", 4_500, 100)
    done = await desk.client.create_order(order("took", price_e4=4500, post_only=False))
    return await desk.client.cancel_order(done.order_id)


async def cross(desk: Desk) -> object:
    desk.exchange.other_places("ask", 4_500, 100)
    return await desk.client.create_order(order("crosses", price_e4=4500))


async def numbers_for_texts(desk: Desk) -> object:
    body = {"ticker": MARKET, "side": "bid", "count": 1, "price": "0.0100"}
    answer = await desk.client._caller.exchange(at.CREATE_ORDER, body=msgspec.json.encode(body))
    raise error_of(answer[0], answer[1].status, answer[1].body)


async def late(desk: Desk, ahead_s: int) -> object:
    desk.clock.ahead_ns = ahead_s * S
    return await desk.client.create_order(order("late"))


REFUSALS: dict[str, Refusal] = {
    "orders__duplicate_client_order_id": again,
    "orders__reuse_canceled_client_id": reuse,
    "orders__cancel_already_canceled": cancel_twice,
    "orders__cancel_executed": cancel_filled,
    "orders__cancel_unknown_id": lambda desk: desk.client.cancel_order(NOBODY),
    "orders__post_only_cross": cross,
    "orders__insufficient_balance": lambda desk: desk.client.create_order(
        order("dear", count_e2=100_000_000)
    ),
    "orders__invalid_price_structure": lambda desk: desk.client.create_order(
        order("off the grid", price_e4=2050)
    ),
    "orders__numeric_field_types": numbers_for_texts,
    "auth__bad_signature": lambda desk: balance(desk, WrongSigner(sign_ms=1)),
    "auth__unknown_key_id": lambda desk: balance(desk, WrongSigner(key_id=NOBODY)),
    "auth__missing_signature_header": lambda desk: balance(desk, WrongSigner(drop=True)),
    "auth__skew_minus5min": lambda desk: late(desk, -300),
    "auth__skew_plus5min": lambda desk: late(desk, 300),
}


def recorded(name: str) -> RefusedError:
    meta = msgspec.json.decode(shared_file(f"kalshi/recorded/{name}.meta.json").read_bytes())
    body = shared_file(f"kalshi/recorded/{name}.json").read_bytes()
    error = error_of(name, meta["status"], body)
    assert isinstance(error, RefusedError)
    return error


@pytest.mark.parametrize("name", REFUSALS)
async def test_a_refusal_reads_the_same_from_both_exchanges(tmp_path: Path, name: str) -> None:
    real = recorded(name)
    async with desk_at(tmp_path) as desk:
        with pytest.raises(RefusedError) as refused:
            await REFUSALS[name](desk)
    mine = refused.value
    assert isinstance(mine, NotDoneError)
    assert (mine.status, mine.code, mine.message) == (real.status, real.code, real.message)
    assert mine.details.partition(":")[0] == real.details.partition(":")[0]


async def test_self_trade_prevention_reads_the_same_from_both_exchanges(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        resting = await desk.rest("rests", "ask", 4500)
        crossed = await desk.client.create_order(order("crosses", price_e4=4500, post_only=False))
        assert (crossed.filled_e2, crossed.remaining_e2) == (0, 0)  # as orders__stp_self_cross
        shown = await desk.client.order(resting)
        assert shown is not None
        assert (shown.status, shown.remaining_e2) == ("resting", 100)


WRONG_BY_S = pytest.mark.parametrize("ahead_s", [-300, 300])


@WRONG_BY_S
async def test_a_cancel_from_a_wrong_clock_goes_again_at_once(tmp_path: Path, ahead_s: int) -> None:
    async with desk_at(tmp_path) as desk:
        order_id = await desk.rest("before")
        desk.clock.ahead_ns = ahead_s * S
        assert (await desk.client.cancel_order(order_id)).reduced_by_e2 == 100
        skew_ns = desk.client.last_skew_ns
        assert skew_ns is not None
        assert abs(skew_ns - desk.clock.ahead_ns) <= S


@WRONG_BY_S
async def test_an_order_from_a_wrong_clock_is_asked_anew(tmp_path: Path, ahead_s: int) -> None:
    """The 401 proves that nothing was done; whether it is still wanted the caller knows."""
    async with desk_at(tmp_path) as desk:
        desk.clock.ahead_ns = ahead_s * S
        with pytest.raises(RefusedError, match="header_timestamp_expired"):
            await desk.client.create_order(order("first"))
        assert desk.exchange.engine.resting(ED_ID) == []
        await desk.rest("first")
        (shown,) = await desk.client.orders(status="resting")
        assert shown.client_order_id == "first"
