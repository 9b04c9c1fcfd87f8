"""What our client concludes from a fault, against what the simulator did: proof is never wrong."""

from pathlib import Path

import pytest

from lab.exchange.faults import (
    AcceptThenTimeout,
    Answer,
    ClockOffset,
    Delay,
    Drop,
    DuplicateRequest,
    Fault,
    RequestWhere,
    StaleRead,
    When,
)
from libs.kalshi.caller import Repeats
from libs.kalshi.errors import (
    KalshiError,
    NoAnswerError,
    NotDoneError,
    RateLimitedError,
    RefusedError,
    ServerFaultError,
)
from tests.lab.exchange.harness import ED_ID
from tests.libs.kalshi.desk import desk_at, order

CREATE = RequestWhere(operations=("CreateOrderV2",))
CANCEL = RequestWhere(operations=("CancelOrderV2",))
ONCE = When(count=1)
Case = tuple[Fault, type[KalshiError], int]

CREATES: dict[str, Case] = {
    "429": (Answer(status=429, where=CREATE, when=ONCE), RateLimitedError, 0),
    "409": (Answer(status=409, where=CREATE, when=ONCE), RefusedError, 0),
    "500": (Answer(status=500, where=CREATE, when=ONCE), ServerFaultError, 0),
    "503": (Answer(status=503, where=CREATE, when=ONCE), ServerFaultError, 0),
    "500 done": (
        Answer(status=500, carried_out=True, where=CREATE, when=ONCE),
        ServerFaultError,
        1,
    ),
    "503 done": (
        Answer(status=503, carried_out=True, where=CREATE, when=ONCE),
        ServerFaultError,
        1,
    ),
    "dropped": (Drop(where=CREATE, when=ONCE), NoAnswerError, 0),
    "accepted": (AcceptThenTimeout(hold_s=0.0, where=CREATE, when=ONCE), NoAnswerError, 1),
    "held": (AcceptThenTimeout(hold_s=600.0, where=CREATE, when=ONCE), NoAnswerError, 1),
    "twice": (DuplicateRequest(where=CREATE, when=ONCE), RefusedError, 1),
}


@pytest.mark.parametrize("name", CREATES)
async def test_an_order_that_met_a_fault(tmp_path: Path, name: str) -> None:
    fault, kind, resting = CREATES[name]
    async with desk_at(tmp_path, faults=(fault,)) as desk:
        with pytest.raises(kind) as raised:
            await desk.client.create_order(order("mine"))
        assert len(desk.exchange.engine.resting(ED_ID)) == resting
        found = await desk.client.orders(status="resting")
        assert [one.client_order_id for one in found] == ["mine"] * resting
        error = raised.value
        if isinstance(error, RefusedError) and error.code == "order_already_exists":
            return  # proof about this request only: an order of that id may rest
        assert not (isinstance(error, NotDoneError) and resting)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (Answer(status=500, carried_out=True, where=CANCEL, when=ONCE), ServerFaultError),
        (AcceptThenTimeout(hold_s=0.0, where=CANCEL, when=ONCE), NoAnswerError),
        (DuplicateRequest(where=CANCEL, when=ONCE), RefusedError),
    ],
)
async def test_a_cancel_whose_answer_hides_its_success(
    tmp_path: Path, fault: Fault, kind: type[KalshiError]
) -> None:
    """The 404 of a cancel that came twice: gone, and by which way only a read can tell."""
    async with desk_at(tmp_path, faults=(fault,)) as desk:
        order_id = await desk.rest("mine")
        with pytest.raises(kind) as raised:
            await desk.client.cancel_order(order_id)
        if isinstance(raised.value, RefusedError):
            assert raised.value.status == 404
        shown = await desk.client.order(order_id)
        assert shown is not None
        assert (shown.status, shown.filled_e2) == ("canceled", 0)


async def test_a_read_after_a_cancel_may_lag(tmp_path: Path) -> None:
    async with desk_at(tmp_path, faults=(StaleRead(ms=360),)) as desk:
        order_id = await desk.rest("mine")
        await desk.client.cancel_order(order_id)
        late = await desk.client.order(order_id)
        assert late is not None
        assert late.status == "resting"
        clock = desk.exchange.clock
        await clock.advance_to(clock.now_ns() + 361_000_000)
        shown = await desk.client.order(order_id)
        assert shown is not None
        assert shown.status == "canceled"


async def test_a_pause_lets_cancels_through_and_says_so_in_the_status(tmp_path: Path) -> None:
    async with desk_at(tmp_path) as desk:
        order_id = await desk.rest("mine", cancel_order_on_pause=False)
        now_ns = desk.exchange.clock.now_ns()
        desk.exchange.engine.set_pause(exchange_active=True, trading_active=False, now_ns=now_ns)
        with pytest.raises(KalshiError):
            await desk.rest("refused")
        status = await desk.client.exchange_status()
        assert (status.exchange_active, status.trading_active) == (True, False)
        assert not status.of_shard(0).trading_active
        assert (await desk.client.cancel_order(order_id)).reduced_by_e2 == 100


@pytest.mark.parametrize("off_s", [-300.0, 300.0])
async def test_an_exchange_whose_own_clock_moves_is_followed(tmp_path: Path, off_s: float) -> None:
    offset = ClockOffset(s=off_s, checked=True)
    async with desk_at(tmp_path, faults=(offset,)) as desk:
        await desk.client.balance()
        skew_ns = desk.client.last_skew_ns
        assert skew_ns is not None
        assert abs(skew_ns + round(off_s * 1e9)) <= 1_000_000_000
        await desk.rest("mine")


async def test_reads_that_may_be_repeated_get_over_what_passes(tmp_path: Path) -> None:
    reads = RequestWhere(methods=("GET",))
    faults: tuple[Fault, ...] = (
        Answer(status=429, where=reads, when=When(nth=(1,))),
        Answer(status=503, where=reads, when=When(nth=(2,))),
        Delay(ms=1, where=CREATE),
    )
    quick = Repeats(wait_first_s=1e-10, wait_max_s=1e-10)  # the exchange's clock stands still
    async with desk_at(tmp_path, repeats=quick, faults=faults) as desk:
        assert (await desk.client.balance()).balance_e6 > 0
