"""Scoring that cannot flatter: walks without edge, perfect forecasts, look-ahead, known laws."""

from datetime import date
from math import pi, sqrt

import numpy as np
import pytest
from msgspec.structs import replace

from lab.index.cases import known_of, moves_known, questions_of
from lab.index.score import ScoreError, folds_of, report, score, walk_forward
from libs.domain.distributions import Normal
from services.pricer.models import random_walk
from services.pricer.models.registry import MODELS
from tests.lab.index.walks import MINUTE, SIGMA, history, sessions_from, walk

SESSIONS = sessions_from(date(2025, 3, 3), 36)
TRAIN, TEST = SESSIONS[:24], SESSIONS[24:]


def scored(models=MODELS, train=TRAIN, test=TEST, **law):
    both = walk(train + test, seed=law.pop("seed", 5), **law)
    cut = both.minute_ns <= train[-1].close_ns
    halves = [
        history(
            replace(
                both,
                minute_ns=both.minute_ns[part],
                minutes=both.minutes[part],
                opens=both.opens[part],
            )
        )
        for part in (cut, ~cut)
    ]
    return score(models, *halves, fitted_ns=1)


def row_of(found, model="index", family="INXU", minutes="1-15"):
    rows = found["pooled"] if isinstance(minutes, str) else found["results"]
    wanted = {"model": model, "family": family, "horizon_min": minutes}
    (row,) = [row for row in rows if wanted.items() <= row.items()]
    return row


@pytest.fixture(scope="module")
def plain():
    return report(scored())


def test_on_a_random_walk_no_model_shows_an_edge(plain):
    """The walk's own law is the random-walk baseline: there is nothing to gain against it."""
    for model in ("index", "runbook"):
        row = row_of(plain, model)
        assert row["crps_gain_ci95"][0] < 0.004, model
        assert row["log_gain_ci95"][0] < 0.004, model
        # Nor is there much to lose: what is learnt from noise stays small.
        assert row["crps_gain_vs_random_walk"] > -0.03, model


def test_where_days_differ_the_model_has_an_edge():
    """The control: with σ of days apart by e^±½, today's moves tell, and all intervals say so."""
    row = row_of(report(scored(day_log_sigma=0.5)))
    assert row["crps_gain_ci95"][0] > 0.0
    assert row["log_gain_ci95"][0] > 0.0
    assert row["crps_gain_ci95_runbook"][0] > 0.0
    assert 0.68 < row["coverage_80"] < 0.92  # 84 targets: ± 3 × 0.044


def test_the_random_walks_score_is_the_one_that_theory_gives(plain):
    """E CRPS of the true normal is σ/√π; σ of m minutes is √m times that of one."""
    for minutes in (1, 15, 60):
        row = row_of(plain, "random-walk", minutes=minutes)
        theory = 5_000 * SIGMA * sqrt(minutes) / sqrt(pi)
        assert row["crps"] == pytest.approx(theory, rel=0.35)
    pooled = row_of(plain, "random-walk")
    for percent in (50, 80, 95):
        share = percent / 100
        error = sqrt(share * (1 - share) / 84)  # of 84 targets
        assert pooled[f"coverage_{percent}"] == pytest.approx(share, abs=3 * error)


def test_the_rows_are_those_of_the_specification(plain):
    fields = {
        "model", "family", "horizon_min", "n", "crps", "log_score", "coverage_80",
        "crps_gain_vs_random_walk", "crps_gain_ci95", "log_gain_vs_random_walk", "log_gain_ci95",
        "crps_gain_vs_runbook", "log_gain_vs_runbook", "coverage_50", "coverage_95", "brier",
    }  # fmt: skip
    assert all(fields <= row.keys() for row in plain["results"])
    # Twelve days of seven hourly targets; at T−60 the first, 10:00, is not open yet.
    assert row_of(plain, minutes=1)["n"] == 12 * 7
    assert row_of(plain, minutes=60)["n"] == 12 * 6
    assert row_of(plain, family="INX", minutes=1)["n"] == 12
    assert len(plain["pit"][0]["histogram"]) == 10
    assert all(len(row["brier"]) == 12 for row in plain["brier_by_rung"])
    baseline = row_of(plain, "random-walk")
    assert (baseline["crps_gain_vs_random_walk"], baseline["crps_gain_ci95"]) == (0.0, (0.0, 0.0))


def test_a_true_law_has_a_uniform_pit(plain):
    (row,) = [
        row
        for row in plain["pit"]
        if (row["model"], row["family"]) == ("random-walk", "INXU") and row["horizon_min"] == "1-15"
    ]
    assert row["p_by_days"] > 0.01
    assert row["histogram"] == pytest.approx([0.1] * 10, abs=0.05)


class Cheat:
    """A model that was told the outcomes: all but certain of the truth."""

    NAME = "cheat"

    def __init__(self, outcomes):
        self.outcomes = outcomes

    def fit(self, found, fitted_ns):
        return random_walk.fit(found, fitted_ns)

    def watch(self, calibration, symbol):
        return None

    def distribution(self, inputs, calibration, now_ns):
        return Normal(self.outcomes[inputs.target.at_ns], 1e-9)


def test_a_perfect_forecast_has_crps_0():
    both = walk(TRAIN[:5] + TEST[:4], seed=3)
    cheat = Cheat(dict(zip(both.minute_ns.tolist(), both.minutes.tolist(), strict=True)))
    found = report(scored({"cheat": cheat}, TRAIN[:5], TEST[:4], seed=3))
    assert row_of(found, "cheat")["crps"] == pytest.approx(0.0, abs=1e-6)
    assert row_of(found, "cheat")["brier"] == pytest.approx(0.0, abs=1e-9)


def test_look_ahead_of_one_bar_shows():
    """Bars known at their start, outcomes from the levels: one minute before, all is known.

    σ/√π can't be beaten on a walk. Whoever knows the outcome has (√2 − 1)/√π of σ left.
    """
    honest = walk(TEST, seed=7)
    hours = honest.minute_ns % (60 * MINUTE) == 0
    honest = replace(honest, level_ns=honest.minute_ns[hours], levels=honest.minutes[hours])
    early = replace(honest, minute_ns=honest.minute_ns - MINUTE)
    train = history(walk(TRAIN, seed=6))
    bound = 5_000 * SIGMA / sqrt(pi)
    crps, coverage = {}, {}
    for name, test in (("honest", honest), ("early", early)):
        found = report(score({"random-walk": random_walk}, train, history(test), 1))
        row = row_of(found, "random-walk", minutes=1)
        crps[name], coverage[name] = row["crps"] / bound, row["coverage_80"]
    assert crps["honest"] == pytest.approx(1.0, abs=0.3)
    assert coverage["honest"] < 0.9
    assert crps["early"] == pytest.approx(sqrt(2) - 1, abs=0.12)
    assert coverage["early"] == 1.0


def test_what_is_known_at_a_minute_ended_by_then():
    row = walk(TEST[:2], seed=1)
    for question in questions_of(known_of(row), {}):
        at = int(np.searchsorted(row.minute_ns, question.now_ns))
        assert row.minute_ns[at] == question.now_ns
        assert question.level_e4 == round(row.minutes[at] * 10_000)
        assert question.horizon_min * MINUTE == question.target.at_ns - question.now_ns
    ends = [end for _, end, _ in moves_known(row)]
    assert ends == sorted(set(ends))


def test_days_that_train_and_test_share_are_not_scored():
    row = walk(SESSIONS[:6], seed=1)
    late = row.minute_ns > SESSIONS[3].close_ns
    train = replace(
        row, minute_ns=row.minute_ns[~late], minutes=row.minutes[~late], opens=row.opens[~late]
    )
    found = score(MODELS, history(train), history(row), 1)
    assert {q.day for q in found.questions} == {str(s.day) for s in SESSIONS[4:6]}
    assert found.problems["test days left out since the training set holds them"] == 4
    with pytest.raises(ScoreError, match="not in the training set"):
        score(MODELS, history(row), history(train), 1)


def test_training_data_later_than_test_days_are_named():
    """Fitted on days 3 to 5, scored on days 0 to 2 and on 6 and 7: three with hindsight."""
    row = walk(SESSIONS[:8], seed=1)

    def days(chosen):
        mine = np.zeros(row.minute_ns.size, bool)
        for session in chosen:
            mine |= (row.minute_ns > session.open_ns) & (row.minute_ns <= session.close_ns)
        return history(
            replace(
                row, minute_ns=row.minute_ns[mine], minutes=row.minutes[mine], opens=row.opens[mine]
            )
        )

    what = "test days before training data end: scored with hindsight"
    around = days(SESSIONS[:3] + SESSIONS[6:8])
    found = score(MODELS, days(SESSIONS[3:6]), around, 1)
    assert found.problems[what] == 3
    assert folds_of(found)["problems"][what] == 3
    assert score(MODELS, days(SESSIONS[:3]), days(SESSIONS[3:6]), 1).problems[what] == 0


def test_pooled_rows_are_labelled_by_what_is_there():
    """Bars from 11:45 on: the first is known at 11:46, which is T−14 of noon."""
    row = walk(TEST[:4], seed=1)
    minute = (row.minute_ns - TEST[0].open_ns) // MINUTE % 1440
    mine = (minute > 135) & (minute <= 150)
    window = replace(
        row, minute_ns=row.minute_ns[mine], minutes=row.minutes[mine], opens=row.opens[mine]
    )
    found = report(score(MODELS, history(walk(TRAIN, seed=6)), history(window), 1))
    assert {r["horizon_min"] for r in found["pooled"] if isinstance(r["horizon_min"], str)} == {
        "1-14"
    }


def test_a_close_is_one_level_of_two_forecasts(plain):
    """Twelve days of seven levels; a close is asked in INXU and INX, an hour before each."""
    assert plain["levels"] == 12 * 7
    assert plain["questions"] > 12 * 7 * 50


def test_walk_forward_fits_on_earlier_days_only():
    found = walk_forward(MODELS, history(walk(SESSIONS[:9], seed=1)), 1, 5, 2)
    parts = folds_of(found)["folds"]
    assert [part["days"][0] for part in parts] == [str(SESSIONS[at].day) for at in (5, 7)]
    for part in parts:
        for calibration in part["calibrations"].values():
            assert calibration["window"][1] < part["days"][0]
    with pytest.raises(ScoreError, match="expected more than 20 days, found 9"):
        walk_forward(MODELS, history(walk(SESSIONS[:9], seed=1)), 1, 20, 5)


def test_hourly_levels_alone_are_scored_at_an_hour_and_the_runbook_cannot_be_fitted():
    row = walk(SESSIONS[:12], seed=2, levels_only=True)
    found = walk_forward(MODELS, history(row), 1, 6, 6)
    rows = report(found)["results"]
    assert {r["horizon_min"] for r in rows} == {60}
    assert {r["model"] for r in rows} == {"index", "random-walk"}
    assert all(r["crps_gain_vs_runbook"] is None for r in rows)
    assert "over a minute" in found.folds[0].unfitted["runbook"]


def test_fewer_than_three_days_give_no_interval():
    row = row_of(report(scored(test=TEST[:2])), minutes="1-15")
    assert row["crps_gain_vs_random_walk"] is not None
    assert (row["crps_gain_ci95"], row["log_gain_ci95"]) == (None, None)
