"""The other participants of one ladder in the exchange simulator.

Makers quote both sides of a fair value that lags and errs, noise takers pay up for no reason,
informed takers see the index before the makers do and take what is stale. Call `step` at every
multiple of the grid: what a step draws depends on (seed, event, step) alone.
"""

import math

import numpy as np

from lab.exchange.engine import Engine
from lab.exchange.model import MarketStatus, NewOrder, Placed, Side
from lab.market.crowd import (
    NEAR_HIGH,
    NEAR_LOW,
    TICK_E4,
    CrowdConfig,
    Floats,
    Ints,
    bounds_of,
    make_slots,
    wanted_quotes,
)
from lab.market.path import NS_PER_S, IndexPath
from lab.market.seeds import generator
from libs.domain.fees import schedule_at
from libs.domain.money import COUNT_ONE_E2

MAKER, NOISE, INFORMED = "crowd-maker", "crowd-noise", "crowd-informed"
CASH_E6 = 100_000_000 * 1_000_000
MOOD_NS = 20 * NS_PER_S
REFILL_STEPS = 8
# A maker whose quote was taken waits ten seconds on the usual grid before it quotes again.
WAIT_STEPS = 40
REQUOTE_MOVE_MIN = 0.025
REQUOTE_MOVE_OF_WIDTH = 0.15
DRAWS = 8


def accounts(config: CrowdConfig) -> tuple[str, ...]:
    """Return the account names that the crowd trades under."""
    return (*(f"{MAKER}-{n}" for n in range(len(config.maker_lags_s))), NOISE, INFORMED)


def open_accounts(engine: Engine, config: CrowdConfig) -> None:
    """Open the crowd's accounts, once for an engine, with ample cash."""
    for name in accounts(config):
        engine.open_account(name, CASH_E6, keep_history=False)


class Flow:
    """Other people's orders on one event's ladder, from its listing to its target."""

    def __init__(
        self, engine: Engine, event_ticker: str, path: IndexPath, config: CrowdConfig
    ) -> None:
        markets = engine.event_markets(event_ticker)
        assert markets, f"event {event_ticker} has no markets"
        self._config = config
        self._path = path
        self._event_ticker = event_ticker
        self._symbol = markets[0].event.symbol
        self._target_ns = markets[0].event.target_ns
        self._fees = schedule_at(markets[0].event.series_ticker, self._target_ns, event_ticker)
        self._markets = markets
        self._tickers = [market.spec.ticker for market in markets]
        self.bounds = bounds_of([market.spec.rung for market in markets])
        self._slots = make_slots(config, event_ticker, len(markets))
        count = self._slots.rung.size
        self._quoted = np.full(count, np.nan)
        self._move_min = np.maximum(REQUOTE_MOVE_MIN, REQUOTE_MOVE_OF_WIDTH * self._slots.width)
        self._resting: list[dict[Side, tuple[str, int]]] = [{} for _ in range(count)]
        self._wait_until = np.zeros(count, dtype=np.int64)
        self._error = (-1, np.zeros(count))

    def step(self, engine: Engine, now_ns: int) -> None:
        """Let everybody act once at `now_ns`; nothing happens from the target on."""
        if now_ns >= self._target_ns or self._markets[0].status is not MarketStatus.ACTIVE:
            return
        config = self._config
        number = now_ns // config.grid_ns
        rng = generator(config.seed, self._event_ticker, number)
        draws = rng.random(DRAWS)
        size = float(rng.standard_normal())
        per_step_s = config.grid_ns / NS_PER_S
        if draws[0] < config.informed_per_s * per_step_s:
            self._take_informed(engine, now_ns, draws)
        if draws[1] < config.noise_per_s * per_step_s:
            self._take_noise(engine, now_ns, draws, size)
        self._quote(engine, now_ns, number)

    # Views

    def _sigma_e4(self, at_ns: int) -> float:
        return self._path.sigma_e4(self._symbol, at_ns, self._target_ns)

    def _fair(self, seen_ns: int, now_ns: int) -> Floats:
        """Return fair prices per rung for somebody who sees the level of `seen_ns`."""
        level_e4 = float(self._path.level_e4(self._symbol, seen_ns))
        return self.bounds.fair(level_e4, self._sigma_e4(min(now_ns, self._target_ns)))

    def _maker_fair(self, now_ns: int) -> Floats:
        """Return the fair price that each slot's maker believes in."""
        slots, config = self._slots, self._config
        sigma_e4 = self._sigma_e4(now_ns)
        levels = np.array(
            [
                float(self._path.level_e4(self._symbol, now_ns - round(lag_s * NS_PER_S)))
                for lag_s in config.maker_lags_s
            ]
        )
        mood = now_ns // MOOD_NS
        if self._error[0] != mood:
            rng = generator(config.seed, self._event_ticker, "error", mood)
            self._error = (mood, rng.standard_normal(slots.rung.size))
        believed = levels[slots.maker] + config.maker_view_sigma * sigma_e4 * self._error[1]
        return self.bounds.take(slots.rung).fair(believed, sigma_e4)

    # Makers

    def _quote(self, engine: Engine, now_ns: int, number: int) -> None:
        """Move the quotes that are furthest off, a bounded number of them."""
        fair = self._maker_fair(now_ns)
        near = (fair > NEAR_LOW) & (fair < NEAR_HIGH)
        turn = near & (np.arange(fair.size) % REFILL_STEPS == number % REFILL_STEPS)
        off = np.abs(fair - self._quoted)
        fresh = np.isnan(self._quoted)
        due = np.flatnonzero(fresh | (off > self._move_min) | turn)
        if not due.size:
            return
        # New slots come first from the middle of the ladder outwards, then the largest errors.
        urgency = np.where(fresh, 2.0 - np.abs(fair - 0.5), np.where(near, 1.0, 0.0) + off)[due]
        due = due[np.argsort(-urgency, kind="stable")]
        bids, asks = wanted_quotes(self._config, self._slots, fair)
        moves = 0
        for slot in (int(index) for index in due):
            self._quoted[slot] = fair[slot]
            wanted: dict[Side, int] = {"bid": int(bids[slot]), "ask": int(asks[slot])}
            moves += self._replace(engine, now_ns, number, slot, wanted)
            if moves >= self._config.moves_per_step_max:
                break

    def _replace(
        self, engine: Engine, now_ns: int, number: int, slot: int, wanted: dict[Side, int]
    ) -> int:
        """Make a slot's resting quotes equal to what it wants; return 1 if that took orders."""
        resting = self._resting[slot]
        ticker = self._tickers[int(self._slots.rung[slot])]
        account = f"{MAKER}-{int(self._slots.maker[slot])}"
        alive = engine.account(account).resting.get(ticker, {})
        acted = 0
        for side, price_e4 in wanted.items():
            order_id, at_e4 = resting.get(side, ("", 0))
            if order_id and (order_id not in alive or at_e4 != price_e4):
                del resting[side]
                if order_id in alive:
                    engine.cancel(account, order_id, now_ns)
                    acted = 1
                else:
                    self._wait_until[slot] = number + WAIT_STEPS
        if number < self._wait_until[slot]:
            return acted
        for side, price_e4 in wanted.items():
            if price_e4 == 0 or side in resting:
                continue
            acted = 1
            placed = engine.place(
                account,
                NewOrder(
                    ticker=ticker,
                    side=side,
                    price_e4=price_e4,
                    count_e2=int(self._slots.count_e2[slot]),
                    post_only=True,
                ),
                now_ns,
            )
            if isinstance(placed, Placed):
                resting[side] = (placed.order_id, price_e4)
        return acted

    # Takers

    def _take_noise(self, engine: Engine, now_ns: int, draws: Floats, size: float) -> None:
        """One taker with no view pays up to some edge for a rung near the money."""
        fair = self._fair(now_ns - NS_PER_S, now_ns)
        weight = np.cumsum(fair * (1.0 - fair))
        if weight[-1] < 0.02:
            return
        rung = min(int(np.searchsorted(weight, draws[2] * weight[-1])), fair.size - 1)
        paid = -self._config.noise_edge_paid * math.log(1.0 - float(draws[3]))
        contracts = min(max(round(20.0 * math.exp(1.2 * size)), 1), 500)
        side: Side = "bid" if draws[4] < 0.5 else "ask"
        limit = float(fair[rung]) + (paid if side == "bid" else -paid)
        limit_e4 = min(max(round(limit * 100.0), 1), 99) * TICK_E4
        best = self._best(engine, rung, side)
        if best is not None and (best[0] <= limit_e4 if side == "bid" else best[0] >= limit_e4):
            self._take(engine, NOISE, rung, side, limit_e4, contracts * 100, now_ns)

    def _take_informed(self, engine: Engine, now_ns: int, draws: Floats) -> None:
        """One taker who sees the index early takes the most mistaken quote, fee considered."""
        leads_s = self._config.informed_leads_s
        lead_ns = round(leads_s[int(float(draws[6]) * len(leads_s))] * NS_PER_S)
        seen_ns = min(now_ns + lead_ns, self._target_ns)
        fair = self._fair(seen_ns, seen_ns)
        found: tuple[float, int, Side, int, int] | None = None
        for rung in (int(index) for index in self._near(fair)):
            for side, sign in (("bid", 1.0), ("ask", -1.0)):
                best = self._best(engine, rung, side)
                if best is None:
                    continue
                price = best[0] / 10_000
                fee = self._fees.trade_fee_e6("taker", best[0], COUNT_ONE_E2) / 1_000_000
                edge = sign * (float(fair[rung]) - price) - fee
                if edge > self._config.informed_edge_min and (found is None or edge > found[0]):
                    found = (edge, rung, "bid" if sign > 0 else "ask", *best)
        if found is not None:
            _, rung, taken, price_e4, available_e2 = found
            count_e2 = min(available_e2, round(50 + 250 * float(draws[5])) * 100)
            self._take(engine, INFORMED, rung, taken, price_e4, count_e2, now_ns)

    @staticmethod
    def _near(fair: Floats) -> Ints:
        return np.flatnonzero((fair > NEAR_LOW / 3) & (fair < 1 - NEAR_LOW / 3))

    def _best(self, engine: Engine, rung: int, taker: str) -> tuple[int, int] | None:
        """Return (price_e4, count_e2) of the best quote that a taker of that side would hit."""
        book = engine.book(self._tickers[rung])
        levels = book.asks if taker == "bid" else book.bids
        return levels[0] if levels else None

    def _take(
        self,
        engine: Engine,
        account: str,
        rung: int,
        side: Side,
        limit_e4: int,
        count_e2: int,
        now_ns: int,
    ) -> None:
        engine.place(
            account,
            NewOrder(
                ticker=self._tickers[rung],
                side=side,
                price_e4=limit_e4,
                count_e2=count_e2,
                time_in_force="immediate_or_cancel",
            ),
            now_ns,
        )
