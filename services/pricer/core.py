"""Ticks, ladders and our own orders in; fair ladders and proposals out. Pure.

A proposal is the whole quote set of one event. It is sent when the set changes, when its reasons
change, and again before it expires; it is never sent from inputs that risk would call stale.
"""

from collections.abc import Mapping

from libs.common.effects import Effect, Event, Publish, Received, SetTimer, TimerFired
from libs.common.messages import (
    Cause,
    FairLadder,
    IndexTick,
    LadderDefined,
    LadderSnapshot,
    OrderIntent,
    OrderUpdate,
    Proposal,
    Provenance,
    Quote,
    derived_id,
    envelope,
)
from libs.common.own_orders import OwnOrders
from libs.domain.eastern import NS_PER_HOUR, NS_PER_MINUTE
from libs.domain.windows import index_window
from services.pricer import event_state as reasons_of
from services.pricer.calibration import Calibration
from services.pricer.event_state import (
    EventState,
    Forecast,
    input_reasons,
    level_age_limit_ns,
    window_reason,
)
from services.pricer.fills import FillModel
from services.pricer.ladder import LadderRefused, PricedLadder
from services.pricer.models.contract import IndexInputs, Target, target_of
from services.pricer.models.registry import MODELS
from services.pricer.policy import PricerPolicy, seconds_ns
from services.pricer.quotes import Moment, attention_of, choose_quotes
from services.pricer.today import Today

EVENTS_MAX = 256
TIMER = "check:"
_ORDERS = (OrderUpdate, OrderIntent)
_PROVENANCE_ORDER: tuple[Provenance, ...] = ("live", "replay", "synthetic")


class PricerCore:
    """Price every event whose ladder, level and calibration are known."""

    def __init__(
        self,
        policy: PricerPolicy,
        calibrations: Mapping[str, Calibration],
        fills: FillModel | None = None,
    ) -> None:
        self.policy = policy
        self.fills = fills or FillModel()
        self.calibrations = dict(calibrations)
        self.today = Today(self.calibrations)
        self.own = OwnOrders()
        self._ticks: dict[str, IndexTick] = {}
        self._events: dict[str, EventState] = {}

    def handle(self, event: Event) -> list[Effect]:
        """Fold one event; return what to publish and when to look again."""
        if isinstance(event, TimerFired) and event.key.startswith(TIMER):
            state = self._events.get(event.key.removeprefix(TIMER))
            if state is None:
                return []
            state.timer_ns = 0
            cause = Cause.first("timer", f"{event.key}@{event.at_ns}", event.now_ns)
            return self._look(state, cause, by_tick=False, first=0)
        if not isinstance(event, Received):
            return []
        if isinstance(event.message, _ORDERS):  # most of what comes
            self.own.apply(event.message, event.stream, event.sequence)
            return []
        cause = Cause.of(event.message, event.now_ns)
        match event.message:
            case IndexTick() as tick:
                return self._on_tick(tick, cause)
            case LadderSnapshot() as snapshot:
                state = self._events.get(snapshot.event_ticker)
                if state is None or not _newer(snapshot, state.snapshot):
                    return []
                state.snapshot = snapshot
                return self._look(state, cause, by_tick=False, first=0)
            case LadderDefined() as definition:
                return self._on_definition(definition, cause)
        return []

    def summary(self) -> str:
        """Return one line for the heartbeat."""
        quoted = sum(bool(state.quotes) for state in self._events.values())
        names = (
            ",".join(sorted(found.id_for(name) for name, found in self.calibrations.items()))
            or "none"
        )
        found = f"events {len(self._events)}, quoted {quoted}, calibrations {names}"
        return f"{found}, {self.fills.id} ({self.fills.provenance})"

    def _on_tick(self, tick: IndexTick, cause: Cause) -> list[Effect]:
        known = self._ticks.get(tick.symbol)
        if known is not None and tick.bar_end_ns < known.bar_end_ns:
            return []
        self._ticks[tick.symbol] = tick
        self.today.fold(tick)
        effects: list[Effect] = []
        for state in self._events.values():
            if state.definition.symbol == tick.symbol:
                effects += self._look(state, cause, by_tick=True, first=len(effects))
        return effects

    def _on_definition(self, definition: LadderDefined, cause: Cause) -> list[Effect]:
        now_ns = cause.now_ns
        for name in [
            name
            for name, state in self._events.items()
            if state.definition.target_ns < now_ns - NS_PER_HOUR
        ]:
            del self._events[name]
            self.own.forget(name)
        known = self._events.get(definition.event_ticker)
        if known is not None and known.definition.ladder_id == definition.ladder_id:
            return []
        if definition.target_ns <= now_ns or (known is None and len(self._events) >= EVENTS_MAX):
            return []
        try:
            ladder = PricedLadder(definition, now_ns)
        except LadderRefused:
            ladder = None
        try:
            window = index_window(definition.family, definition.target_ns, self.policy.index_ops)
            target: Target | None = target_of(definition.family, definition.target_ns)
        except ValueError:  # no target of that day, or no calendar for it
            window, target = None, None
        state = EventState(definition, ladder, window, target)
        if known is not None:
            state.snapshot, state.quotes, state.reasons = known.snapshot, known.quotes, None
            state.expires_ns, state.timer_ns = known.expires_ns, known.timer_ns
        self._events[definition.event_ticker] = state
        return self._wake(state, now_ns)

    def _look(self, state: EventState, cause: Cause, *, by_tick: bool, first: int) -> list[Effect]:
        """Decide anew for one event; `first` is the index of its first effect of this cause."""
        now_ns, policy = cause.now_ns, self.policy
        if state.ladder is not None:
            state.ladder.refresh_fees(now_ns)
        tick = self._ticks.get(state.definition.symbol)
        calibration = self.calibrations.get(state.definition.family)
        barred = window_reason(state, policy, now_ns)
        forecast: Forecast | None = None
        effects: list[Effect] = []
        if barred is None:
            bad = input_reasons(state, tick, calibration, policy, now_ns)
            if not bad:
                assert tick is not None, "a missing level is a reason"
                forecast = self._forecast(state, tick, calibration, now_ns)
                # In the last minute a level ages past risk's limit between two bars: wait for one.
                if by_tick or now_ns - tick.recv_ns <= level_age_limit_ns(state, policy, now_ns):
                    effects += self._quote(state, forecast, cause, first)
            else:
                effects += self._propose(state, (), tuple(bad), cause, first)
        elif state.quotes:
            effects += self._propose(state, (), (barred,), cause, first)
        effects += self._fair(state, forecast, barred is None, cause, first + len(effects))
        return effects + self._wake(state, now_ns)

    def _forecast(
        self,
        state: EventState,
        tick: IndexTick,
        calibration: Calibration | None,
        now_ns: int,
    ) -> Forecast:
        assert calibration is not None, "a missing calibration is a reason"
        assert state.ladder is not None, "a refused ladder is a reason"
        assert state.target is not None, "an event without a target has no window"
        inputs = IndexInputs(
            level_e4=tick.level_e4,
            target=state.target,
            belief=self.today.belief(state.definition.family, now_ns),
        )
        model = MODELS[calibration.model].distribution(inputs, calibration, now_ns)
        return Forecast(model, state.ladder.edges.probabilities(model.cdf))

    def _quote(
        self, state: EventState, forecast: Forecast, cause: Cause, first: int
    ) -> list[Effect]:
        policy, ladder = self.policy, state.ladder
        books = state.books(self.own)
        assert books is not None, "missing books are a reason"
        assert state.snapshot is not None, "missing books are a reason"
        assert ladder is not None, "a refused ladder is a reason"
        if state.contradictions:
            return self._propose(state, (), (reasons_of.NON_MONOTONE,), cause, first)
        rested = cause.now_ns - state.changed_ns >= seconds_ns(policy.min_rest_s)
        expiry_ns = state.definition.target_ns - seconds_ns(policy.index_ops.cancel_buffer_s)
        moment = Moment(
            ladder=ladder,
            probabilities=forecast.probabilities,
            books=books,
            policy=policy.quotes,
            fills=self.fills.of_series(state.definition.series_ticker),
            minutes_left=(expiry_ns - cause.now_ns) / NS_PER_MINUTE,
            attention=attention_of(forecast.probabilities),
            inactive=state.snapshot.inactive or (),
        )
        may_change = rested and state.books_settled(self.own, policy)
        quotes = choose_quotes(moment, state.quotes, may_change=may_change)
        return self._propose(state, quotes, () if quotes else (reasons_of.NO_EDGE,), cause, first)

    def _propose(
        self,
        state: EventState,
        quotes: tuple[Quote, ...],
        reasons: tuple[str, ...],
        cause: Cause,
        index: int,
    ) -> list[Effect]:
        """Publish the set if it says something new, or if the standing one expires soon."""
        now_ns, policy = cause.now_ns, self.policy
        changed = _orders_of(quotes) != _orders_of(state.quotes)
        if not changed:
            if quotes:
                due = now_ns >= self._renewal_ns(state, now_ns)
            else:
                apart_ns = now_ns - state.proposed_ns
                due = reasons != state.reasons and apart_ns >= seconds_ns(policy.empty_repeat_s)
            if not due and state.reasons is not None:
                return []
        else:
            state.changed_ns = now_ns
        state.expires_ns = now_ns + seconds_ns(policy.proposal_ttl_s)
        if quotes:
            last_ns = state.definition.target_ns - seconds_ns(policy.index_ops.cancel_buffer_s)
            state.expires_ns = min(state.expires_ns, last_ns)
        state.quotes, state.reasons, state.proposed_ns = quotes, reasons, now_ns
        return [Publish(message=self._proposal(state, cause, index))]

    def _renewal_ns(self, state: EventState, now_ns: int) -> int:
        """Return when a standing set is due to be said again."""
        due_ns = state.expires_ns - seconds_ns(self.policy.renew_lead_s)
        if state.definition.target_ns - now_ns <= NS_PER_MINUTE:
            due_ns = min(due_ns, state.proposed_ns + seconds_ns(self.policy.renew_last_minute_s))
        return due_ns

    def _proposal(self, state: EventState, cause: Cause, index: int) -> Proposal:
        definition = state.definition
        tick = self._ticks.get(definition.symbol)
        calibration = self.calibrations.get(definition.family)
        inputs = [part.provenance for part in (tick, state.snapshot) if part is not None]
        # What it says is part of its id: a new life may say something else about the same cause,
        # which the bus must not drop as a copy.
        content = repr(_orders_of(state.quotes)), *(state.reasons or ())
        return Proposal(
            **envelope(cause, "pricer", derived_id(cause.id, index, *content)),
            event_ticker=definition.event_ticker,
            series_ticker=definition.series_ticker,
            family=definition.family,
            target_ns=definition.target_ns,
            expires_at_ns=state.expires_ns,
            quotes=state.quotes,
            reasons=state.reasons or (),
            ladder_id=definition.ladder_id,
            level_ns=tick.recv_ns if tick else 0,
            books_ns=state.snapshot.recv_ns if state.snapshot else 0,
            calibration_id=calibration.id_for(definition.family) if calibration else "",
            calibration_fitted_ns=calibration.fitted_ns if calibration else 0,
            calibration_data_end_ns=calibration.data_end_ns if calibration else 0,
            # The least real of its inputs; without any, nothing may call it live.
            provenance=max(inputs, key=_PROVENANCE_ORDER.index, default="synthetic"),
        )

    def _fair(
        self,
        state: EventState,
        forecast: Forecast | None,
        in_window: bool,
        cause: Cause,
        index: int,
    ) -> list[Effect]:
        """Publish the model's view, at most once per interval and only from a newer level."""
        now_ns, policy, definition = cause.now_ns, self.policy, state.definition
        tick = self._ticks.get(definition.symbol)
        calibration = self.calibrations.get(definition.family)
        left_ns = definition.target_ns - now_ns
        if tick is None or calibration is None or state.ladder is None or state.target is None:
            return []
        if not 0 < left_ns <= seconds_ns(policy.fair_horizon_s):
            return []
        interval_s = policy.fair_interval_s if in_window else policy.fair_idle_interval_s
        if state.fair_ns >= tick.recv_ns or now_ns - state.fair_ns < seconds_ns(interval_s):
            return []
        forecast = forecast or self._forecast(state, tick, calibration, now_ns)
        state.fair_ns = now_ns
        message = FairLadder(
            **envelope(cause, "pricer", derived_id(cause.id, index)),
            ladder_id=definition.ladder_id,
            event_ticker=definition.event_ticker,
            series_ticker=definition.series_ticker,
            target_ns=definition.target_ns,
            model=calibration.model,
            calibration_id=calibration.id_for(definition.family),
            level_e4=tick.level_e4,
            level_ns=tick.recv_ns,
            mean=forecast.distribution.mean,
            sigma=forecast.distribution.sigma,
            probabilities=tuple(forecast.probabilities.clip(0.0, 1.0).tolist()),
            market=state.market(self.own, policy, now_ns),
        )
        return [Publish(message=message)]

    def _wake(self, state: EventState, now_ns: int) -> list[Effect]:
        """Ask to be woken when an input turns stale, quotes must be renewed, or the window turns.

        A timer that is set stays, even if what it was set for has moved on: it then looks again.
        """
        policy, window = self.policy, state.window
        if window is None:
            return []
        dues = [window.opens_ns, window.closes_ns - seconds_ns(policy.index_ops.cancel_buffer_s)]
        if window.is_open(now_ns):
            tick = self._ticks.get(state.definition.symbol)
            if tick is not None:
                dues.append(tick.recv_ns + seconds_ns(policy.level_age_s_max) + 1)
            if state.snapshot is not None:
                dues.append(state.snapshot.recv_ns + seconds_ns(policy.books_age_s_max) + 1)
        due_ns = min((due for due in dues if due > now_ns), default=0)
        if due_ns == 0 or 0 < state.timer_ns <= due_ns:
            return []
        state.timer_ns = due_ns
        return [SetTimer(key=f"{TIMER}{state.definition.event_ticker}", at_ns=due_ns)]


def _orders_of(quotes: tuple[Quote, ...]) -> list[tuple[str, str, int, int]]:
    """Return what of a quote set would change orders; its statistics may move without one."""
    return [(quote.ticker, quote.side, quote.price_e4, quote.count_e2) for quote in quotes]


def _newer(snapshot: LadderSnapshot, known: LadderSnapshot | None) -> bool:
    return known is None or snapshot.recv_ns >= known.recv_ns
