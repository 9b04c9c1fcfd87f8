"""The crowd on the real engine: ladders look like those of kalshi-api.md §4, and repeat."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from lab.exchange.engine import Engine
from lab.exchange.ladders import LadderConfig, build_ladder
from lab.exchange.model import Event, Filled, Ladder, NewOrder, Placed, Side
from lab.market.crowd import CrowdConfig
from lab.market.flow import INFORMED, NOISE, Flow, accounts, open_accounts
from lab.market.path import IndexPath
from tests.lab.market.times import NOON_NS

S = 1_000_000_000
START_NS = NOON_NS - 930 * S
SPX = ("KXINXU", "I:SPX", 60)
NDX = ("KXNASDAQ100U", "I:NDX", 400)


@dataclass
class World:
    """One engine with one ladder and its crowd."""

    engine: Engine
    ladder: Ladder
    flow: Flow
    path: IndexPath
    config: CrowdConfig
    said: list[str] | None = None
    filled: list[Filled] = field(default_factory=list)
    events: int = 0

    def hear(self, event: Event) -> None:
        self.events += 1
        if self.said is not None:
            # An order in an event is the live object: write it down now.
            self.said.append(repr(event))
        if isinstance(event, Filled):
            self.filled.append(event)

    def run(self, from_ns: int, to_ns: int) -> None:
        for now_ns in range(from_ns, to_ns, self.config.grid_ns):
            self.flow.step(self.engine, now_ns)

    def spreads(self) -> list[float]:
        """Return the spread in dollars of every two-sided rung."""
        books = [self.engine.book(market.ticker) for market in self.ladder.markets]
        return [
            (book.asks[0][0] - book.bids[0][0]) / 10_000
            for book in books
            if book.bids and book.asks
        ]


def world(seed: int, kind: tuple[str, str, int] = SPX) -> World:
    series, symbol, rungs = kind
    path, config, engine = IndexPath(seed), CrowdConfig(seed=seed), Engine()
    open_accounts(engine, config)
    ladder = build_ladder(
        LadderConfig(
            series=series,
            target_ns=NOON_NS,
            centre_e4=path.level_e4(symbol, NOON_NS - 900 * S),
            step_e4=100_000,
            rungs=rungs,
        )
    )
    engine.add_ladder(ladder, START_NS)
    made = World(engine, ladder, Flow(engine, ladder.event.ticker, path, config), path, config)
    engine.listen(made.hear)
    return made


@pytest.mark.parametrize("kind", [SPX, NDX], ids=["SPX", "NDX"])
def test_a_quarter_hour_looks_like_the_real_ladders(kind: tuple[str, str, int]) -> None:
    shares: list[float] = []
    medians: list[float] = []
    for seed in (1, 2) if kind is SPX else (1,):
        here = world(seed, kind)
        here.run(START_NS, NOON_NS - 900 * S)
        for minute in range(15):
            from_ns = NOON_NS - 900 * S + minute * 60 * S
            here.run(from_ns, from_ns + 60 * S)
            spreads = here.spreads()
            shares.append(len(spreads) / len(here.ladder.markets))
            medians.append(float(np.median(spreads)))
    # Stated: 41 % two-sided, median spread 0.28.
    assert 0.30 <= float(np.mean(shares)) <= 0.55
    assert 0.15 <= float(np.mean(medians)) <= 0.40
    assert min(shares) > 0.20


def test_the_same_seed_gives_the_same_events_and_another_gives_others() -> None:
    runs: list[list[str]] = []
    for seed in (5, 5, 6):
        here = world(seed)
        here.said = []
        here.run(START_NS, START_NS + 240 * S)
        runs.append(here.said)
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]
    assert len(runs[0]) > 500


def test_far_rungs_are_one_sided_or_empty_too() -> None:
    here = world(2)
    here.run(START_NS, START_NS + 60 * S)
    books = [here.engine.book(market.ticker) for market in here.ladder.markets]
    low, high = books[:20], books[-20:]
    assert any(not book.bids and not book.asks for book in low + high)
    assert any(book.bids and not book.asks for book in low)
    assert any(book.asks and not book.bids for book in high)


def test_orders_per_step_are_bounded_and_books_never_cross() -> None:
    here = world(3, NDX)
    most = 0
    for now_ns in range(START_NS, START_NS + 120 * S, here.config.grid_ns):
        before = here.events
        here.flow.step(here.engine, now_ns)
        most = max(most, here.events - before)
    assert min(here.spreads()) > 0
    # A move is two cancels and two places of two events each; takers may fill many orders.
    assert most <= 8 * here.config.moves_per_step_max + 60


def rest_at_the_money(here: World, now_ns: int, half_width: float, count_e2: int) -> None:
    """Quote both sides of the rung nearest to even, seeing the index one second late."""
    level_e4 = float(here.path.level_e4("I:SPX", now_ns - S))
    fair = here.flow.bounds.fair(level_e4, here.path.sigma_e4("I:SPX", now_ns, NOON_NS))
    rung = int(np.argmin(np.abs(fair - 0.5)))
    sides: tuple[tuple[Side, int], ...] = (("bid", -1), ("ask", 1))
    for side, sign in sides:
        order = NewOrder(
            ticker=here.ladder.markets[rung].ticker,
            side=side,
            price_e4=round((float(fair[rung]) + sign * half_width) * 100) * 100,
            count_e2=count_e2,
            post_only=True,
        )
        here.engine.place("us", order, now_ns)


def quoting(seed: int, *, refresh: bool) -> dict[str, tuple[int, float]]:
    """Quote six cents off for 14 minutes; return our fills and total edge by kind of taker.

    With `refresh` the quotes follow the level once a second, otherwise they stand.
    """
    here = world(seed)
    here.engine.open_account("us", 10**12)
    here.run(START_NS, NOON_NS - 900 * S)
    rest_at_the_money(here, NOON_NS - 900 * S, 0.06, 1_000 if refresh else 100_000)
    for now_ns in range(NOON_NS - 900 * S, NOON_NS - 60 * S, S):
        if refresh:
            here.engine.cancel_all("us", now_ns)
            rest_at_the_money(here, now_ns, 0.06, 1_000)
        here.run(now_ns, now_ns + S)
    return edges_by_taker(here)


def edges_by_taker(here: World) -> dict[str, tuple[int, float]]:
    """Return count and total edge of our fills, valued half a minute later: the news is out."""
    rungs = {market.ticker: index for index, market in enumerate(here.ladder.markets)}
    takers = {fill.trade_id: fill.account for fill in here.filled if fill.is_taker}
    edges: dict[str, list[float]] = {NOISE: [], INFORMED: []}
    for fill in here.filled:
        if fill.account == "us":
            later_ns = fill.at_ns + 30 * S
            level_e4 = float(here.path.level_e4("I:SPX", later_ns))
            fair = here.flow.bounds.fair(level_e4, here.path.sigma_e4("I:SPX", later_ns, NOON_NS))
            gain = float(fair[rungs[fill.ticker]]) - fill.price_e4 / 10_000
            edges[takers[fill.trade_id]].append(gain if fill.side == "bid" else -gain)
    return {name: (len(seen), float(np.sum(seen))) for name, seen in edges.items()}


def test_a_maker_gets_fills_that_are_no_gift() -> None:
    totals: dict[str, list[float]] = {NOISE: [0, 0.0], INFORMED: [0, 0.0]}
    for seed in range(3):
        for name, (count, edge) in quoting(seed, refresh=True).items():
            totals[name][0] += count
            totals[name][1] += edge
    assert totals[NOISE][0] >= 20
    assert totals[INFORMED][0] >= 10
    # Takers without a view pay for the maker's width; those with one take it back.
    assert totals[NOISE][1] / totals[NOISE][0] > 0.02
    assert totals[INFORMED][1] / totals[INFORMED][0] < -0.02


def test_stale_quotes_are_picked_off() -> None:
    lost = [quoting(seed, refresh=False)[INFORMED] for seed in range(3)]
    assert sum(count for count, _ in lost) >= 3
    assert sum(edge for _, edge in lost) < 0


def test_nothing_happens_from_the_target_on() -> None:
    here = world(1)
    here.run(START_NS, START_NS + 10 * S)
    said = here.events
    here.flow.step(here.engine, NOON_NS)
    here.flow.step(here.engine, NOON_NS + 60 * S)
    assert here.events == said


def test_nothing_happens_before_the_market_opens() -> None:
    path, config, engine = IndexPath(1), CrowdConfig(), Engine()
    open_accounts(engine, config)
    ladder = build_ladder(
        LadderConfig(
            series="KXINXU",
            target_ns=NOON_NS,
            centre_e4=68_000_000,
            step_e4=100_000,
            rungs=9,
            open_ns=NOON_NS - 60 * S,
        )
    )
    engine.add_ladder(ladder, START_NS)
    flow = Flow(engine, ladder.event.ticker, path, config)
    flow.step(engine, START_NS)
    assert not any(engine.resting(name) for name in accounts(config))
    engine.advance(NOON_NS - 60 * S)
    flow.step(engine, NOON_NS - 60 * S)
    assert any(engine.resting(name) for name in accounts(config))


def test_the_crowd_trades_ranges_too() -> None:
    path, config, engine = IndexPath(1), CrowdConfig(), Engine()
    open_accounts(engine, config)
    ladder = build_ladder(
        LadderConfig(
            series="KXINX",
            target_ns=NOON_NS,
            centre_e4=path.level_e4("I:SPX", NOON_NS),
            step_e4=250_000,
            rungs=30,
        )
    )
    engine.add_ladder(ladder, START_NS)
    flow = Flow(engine, ladder.event.ticker, path, config)
    for step in range(240):
        flow.step(engine, START_NS + step * config.grid_ns)
    placed = [name for name in accounts(config) if engine.resting(name)]
    assert placed
    assert isinstance(
        engine.place(
            NOISE,
            NewOrder(ticker=ladder.markets[0].ticker, side="bid", price_e4=100, count_e2=100),
            START_NS + 60 * S,
        ),
        Placed,
    )
