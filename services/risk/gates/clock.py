"""Gate `clock`: our clock against outside ones, at most 1.5 s apart (domain.md §1, §3)."""

from libs.common.messages import GateResult
from services.risk.gates.contract import DECIDES, Answer, Question, seconds
from services.risk.policy import RiskPolicy, seconds_ns

NAME = "clock"
INPUTS: tuple[str, ...] = ("now_ns", "clock_samples")
WEIGHT = DECIDES
REASON = "clock_skew_exceeded"


def ask(question: Question, policy: RiskPolicy) -> Answer:
    """Measure the largest skew among the references that were heard of lately."""
    age_max_ns = seconds_ns(policy.gates.clock_sample_age_s_max)
    recent = [
        sample
        for sample in question.clock_samples.values()
        if question.now_ns - sample.ts_event_ns <= age_max_ns
    ]
    if not recent:
        known = len(question.clock_samples)
        detail = f"no sample within {policy.gates.clock_sample_age_s_max:g} s, {known} known"
        return Answer(
            GateResult(
                gate=NAME,
                ok=False,
                reason=REASON,
                limit=policy.gates.skew_s_max,
                unit="s",
                detail=detail,
            )
        )
    worst = max(recent, key=lambda sample: (abs(sample.skew_ns), sample.reference))
    ok = abs(worst.skew_ns) <= seconds_ns(policy.gates.skew_s_max)
    result = GateResult(
        gate=NAME,
        ok=ok,
        reason="" if ok else REASON,
        measured=seconds(abs(worst.skew_ns)),
        limit=policy.gates.skew_s_max,
        unit="s",
        detail=f"{worst.reference} ± {seconds(worst.uncertainty_ns):.3g} s",
    )
    return Answer(result, max(sample.ts_event_ns for sample in recent) + age_max_ns + 1)
