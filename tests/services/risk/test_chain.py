"""The pricer's proposals in risk's hands: what one says the other understands."""

from libs.common.effects import Publish
from libs.common.messages import Message, Verdict
from tests.services.pricer import builders as pricer_side
from tests.services.risk.builders import Bench as RiskBench
from tests.services.risk.builders import failed, verdicts

S = pricer_side.S
TARGET = pricer_side.TARGET


def run(start_ns: int, seconds: int) -> list[Verdict]:
    """Ticks and books once a second; both cores get what they are sent, timers included."""
    pricer = pricer_side.Bench()
    risk = RiskBench(now_ns=start_ns)
    pricer.send(pricer_side.definition())
    risk.send(pricer_side.definition(start_ns))
    said: list[Verdict] = []
    for second in range(seconds):
        now_ns = start_ns + second * S
        risk.refresh(now_ns)
        inputs: list[Message] = [
            pricer_side.snapshot(now_ns),
            pricer_side.tick(now_ns + 1, level=5220 + second % 3),
        ]
        risk.send(inputs[0])
        for message in inputs:
            for effect in pricer.send(message):
                if isinstance(effect, Publish):
                    said += verdicts(risk.send(effect.message, now_ns + 2))
    return said


def test_a_quoted_minute_is_go_throughout():
    said = run(TARGET - 600 * S, 60)
    quoted = [verdict for verdict in said if verdict.quotes]
    assert len(quoted) >= 60 // 8
    assert [failed(v) for v in said if v.decision == "NO-GO"] == [
        [("freshness_index", "polygon_ws_stale")]  # before the first tick
    ]
    for verdict in quoted:
        assert {quote.count_e2 for quote in verdict.quotes} == {100}
        assert len(verdict.quotes) <= 2


def test_the_last_minute_too_and_nothing_after_the_buffer():
    said = run(TARGET - 62 * S, 62)
    late = [v for v in said if TARGET - 60 * S <= v.ts_pub_ns < TARGET - 2 * S]
    assert any(verdict.quotes for verdict in late)
    assert all(verdict.decision == "GO" for verdict in late)
    end = [v for v in said if v.ts_pub_ns >= TARGET - 2 * S]
    assert [(v.decision, failed(v)[0][1]) for v in end] == [("NO-GO", "outside_window")]
    assert all(verdict.expires_at_ns <= TARGET - 2 * S for verdict in said)
