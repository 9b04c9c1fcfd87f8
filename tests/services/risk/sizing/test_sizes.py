"""Sizes of one event: what counts, each step's limit, and what the verdict says of it."""

from datetime import date

import pytest
from msgspec.structs import replace

from libs.domain.eastern import eastern_ns
from services.risk.sizing.chain import STEPS
from services.risk.sizing.policy import (
    CorrelationPolicy,
    KellyPolicy,
    PalPolicy,
    PilotPolicy,
    PortfolioPolicy,
    SizeLadderPolicy,
    SizingPolicy,
)
from tests.services.risk import builders
from tests.services.risk.builders import NOW, TICKERS, S, fill, order, quote
from tests.services.risk.sizing.messages import settlement
from tests.services.risk.sizing.rig import (
    DOLLAR,
    NO_CORRELATION,
    NO_PAL,
    NO_PORTFOLIO,
    WIDE_E6,
    Desk,
    desk,
    failed,
    steps,
    wide,
)

B = SizeLadderPolicy(stage="B")
WIDE_CPI = PalPolicy(family_e6={"CPI": WIDE_E6})


def test_what_fits_is_granted_as_asked():
    assert desk().counts(quote(count_e2=1000)) == [(1000, "asked")]


def test_pal_is_a_thousand_dollars_of_loss_per_strike():
    """At 40 cents $1,000 buys 2,500 contracts; a sale at 40 cents risks 60: 1,666 whole ones."""
    assert desk().counts(quote(count_e2=10**7)) == [(250_000, "pal")]
    sale = quote(side="ask", price_e4=4000, count_e2=10**7, p=0.2)
    assert desk().counts(sale) == [(166_600, "pal")]


def test_a_strike_may_have_a_pal_of_its_own():
    pal = PalPolicy(
        family_e6={"INXU": 1_000 * DOLLAR}, strikes_e6={"INXU": {"5219.9999": 400 * DOLLAR}}
    )
    found = desk(policy=wide(pal=pal)).counts(
        quote(0, count_e2=10**7, p=0.9), quote(1, count_e2=10**7)
    )
    assert found == [(250_000, "pal"), (100_000, "pal")]


def test_a_probability_that_is_rounded_above_one_is_certain():
    certain = desk(probabilities=(1.0, 0.5, 0.1)).counts(quote(0, p=1.0))
    assert desk(probabilities=(1.0, 0.5, 0.1)).counts(quote(0, p=1.0 + 1e-12)) == certain
    assert certain == [(1000, "asked")]


def test_kelly_stakes_its_share_of_the_bankroll():
    """p .62 at .55 is f .155556: $1,555.56 of $10,000, at 55 cents 2,828 contracts."""
    policy = wide(kelly=KellyPolicy(), pal=NO_PAL)
    asked = quote(price_e4=5500, p=0.62, count_e2=10**7)
    assert desk(policy=policy).counts(asked) == [(282_800, "kelly")]


def test_kelly_is_cut_to_a_quarter_and_then_discounted():
    """p .9 at .5 is f .8, cut to .25, halved: $1,250 at 50 cents."""
    policy = wide(kelly=KellyPolicy(uncertainty=0.5), pal=NO_PAL)
    asked = quote(price_e4=5000, p=0.9, count_e2=10**7)
    sizing = desk(policy=policy, probabilities=(0.9, 0.9, 0.1)).size(asked)
    assert [(q.count_e2, q.limited_by) for q in sizing.quotes] == [(250_000, "kelly")]


def test_kelly_of_a_sale_takes_the_no_side():
    """Selling at .40 with p .20 is buying NO at .60 worth .80: f .5, cut to .25."""
    sizing = desk().size(quote(side="ask", p=0.2))
    (gate,) = [g for g in sizing.gates if g.gate == "kelly"]
    assert (gate.measured, gate.limit) == (0.25, 0.25)


def test_the_shipped_policy_is_one_contract_on_one_rung():
    quotes = [quote(0, p=0.9, ev=60_000), quote(1, ev=90_000)]
    sizing = desk(policy=SizingPolicy()).size(*quotes)
    assert [(q.ticker, q.count_e2, q.limited_by) for q in sizing.quotes] == [
        (TICKERS[1], 100, "size_ladder")
    ]
    assert [(q.ticker, q.count_e2, q.limited_by) for q in sizing.withheld] == [
        (TICKERS[0], 0, "size_ladder")
    ]


def test_the_pilot_gets_one_contract_on_two_rungs():
    quotes = [
        quote(rung, ev=ev, p=p, price_e4=500)
        for rung, ev, p in ((0, 60_000, 0.9), (1, 90_000, 0.5), (2, 80_000, 0.1))
    ]
    sizing = desk(policy=SizingPolicy(size_ladder=B)).size(*quotes)
    assert [(q.ticker, q.count_e2, q.asked_count_e2, q.limited_by) for q in sizing.quotes] == [
        (TICKERS[1], 100, 1000, "pilot"),
        (TICKERS[2], 100, 1000, "pilot"),
    ]
    assert [q.limited_by for q in sizing.withheld] == ["size_ladder"]
    assert failed(sizing) == []


def test_the_pilot_holds_ten_contracts_on_a_side():
    policy = SizingPolicy(size_ladder=B)
    assert desk(fill(950), policy=policy).counts(quote()) == []
    sale = quote(side="ask", p=0.2)
    assert desk(fill(950), policy=policy).counts(sale) == [(100, "pilot")]


def test_every_step_is_told_from_asked_to_left():
    policy = SizingPolicy(size_ladder=B)
    (sized,) = desk(policy=policy).size(quote(count_e2=10**7)).quotes
    assert list(steps(sized)) == list(STEPS)
    assert list(steps(sized).values()) == sorted(steps(sized).values(), reverse=True)
    assert steps(sized)["asked"] == 10**7
    # f .1667 of $10,000 at .40 is 4,166 contracts; PAL 2,500; on one side of all strikes 3,500.
    assert steps(sized)["kelly"] == 416_666
    assert steps(sized)["pal"] == 250_000
    assert steps(sized)["size_ladder"] == 200
    assert steps(sized)["joint"] == sized.count_e2 == 100


@pytest.mark.parametrize(
    ("asked", "own", "family", "gate", "reason"),
    [
        (quote(p=0.4), (), "INXU", "kelly", "kelly_not_positive"),
        (quote(p=0.3), (), "INXU", "kelly", "kelly_not_positive"),
        (quote(price_e4=10_000, p=1.0), (), "INXU", "kelly", "kelly_not_positive"),
        (quote(), (), "CLAIMS", "pal", "pal_exhausted"),
        (quote(), (fill(250_000),), "INXU", "pal", "pal_exhausted"),
        (quote(count_e2=50), (), "INXU", "lot", "below_one_lot"),
    ],
)
def test_a_step_that_leaves_nothing_fails_as_a_gate(asked, own, family, gate, reason):
    sizing = desk(*own, policy=wide(pilot=PilotPolicy())).size(asked, family=family)
    assert sizing.quotes == ()
    assert failed(sizing) == [(gate, reason)]


def test_a_dropped_quote_beside_a_sound_one_fails_nothing():
    sizing = desk().size(quote(0, p=0.9), quote(1, p=0.3))
    assert [q.ticker for q in sizing.quotes] == [TICKERS[0]]
    assert failed(sizing) == []
    assert [g.detail for g in sizing.gates if g.gate == "kelly"] == ["dropped 1"]


def test_an_empty_proposal_passes():
    assert failed(desk().size()) == []


@pytest.mark.parametrize(
    ("messages", "room_e2"),
    [
        ((order("resting", count_e2=50_000),), 250_000),
        ((order("unknown", count_e2=50_000),), 200_000),
        ((fill(50_000),), 200_000),
        ((fill(50_000, side="ask"),), 250_000),
        ((order("resting", count_e2=50_000, side="ask"),), 250_000),
        ((order("unknown", count_e2=50_000, ticker=TICKERS[0]),), 250_000),
        ((order("cancelled", count_e2=50_000),), 250_000),
    ],
)
def test_what_counts_against_a_bid(messages, room_e2):
    """$1,000 at 40 cents less what is held or unknown; the order it replaces is not counted."""
    assert desk(*messages).counts(quote(count_e2=10**7)) == [(room_e2, "pal")]


def test_an_order_at_a_dearer_price_counts_until_it_is_gone():
    """1,000 rest at 60 cents. At 40 cents $1,000 are 2,500, but the 1,000 may go at 60 first:
    $600, and only 1,000 more at 40 fit.
    """
    resting = order("resting", price_e4=6000, count_e2=100_000)
    assert desk(resting).counts(quote(count_e2=10**7)) == [(200_000, "pal")]


def test_two_quotes_of_one_side_do_not_share_a_room_twice():
    sizing = desk().size(quote(price_e4=4000, ev=90_000), quote(price_e4=3900, ev=80_000))
    assert [q.price_e4 for q in sizing.quotes] == [4000]
    assert [q.limited_by for q in sizing.withheld] == ["joint"]


def test_the_loss_of_all_rungs_together_keeps_the_days_budget():
    """Both bids lose when the index ends below both: $100 for the two of them."""
    budget = PortfolioPolicy(loss_day_max_e6=100 * DOLLAR)
    sizing = desk(policy=wide(portfolio=budget, pal=NO_PAL)).size(
        quote(0, price_e4=8000, p=0.9, count_e2=10**6), quote(1, count_e2=10**6)
    )
    loss_e6 = sum(q.price_e4 * q.count_e2 for q in sizing.quotes)
    assert 99 * DOLLAR < loss_e6 <= 100 * DOLLAR
    assert {q.limited_by for q in sizing.quotes} <= {"joint", "loss_budget"}


def test_positions_and_quotes_of_both_sides_lose_in_different_outcomes():
    """A bid at the middle loses below it, an ask at the top above it: each has the budget."""
    budget = PortfolioPolicy(loss_day_max_e6=100 * DOLLAR)
    sizing = desk(policy=wide(portfolio=budget, pal=NO_PAL)).size(
        quote(1, count_e2=10**6), quote(2, side="ask", price_e4=2000, p=0.1, count_e2=10**6)
    )
    assert [q.count_e2 for q in sizing.quotes] == [25_000, 12_500]


def test_the_tilt_holds_on_one_side_only():
    """$80 on the low side: 200 at 40 cents; the high side is free."""
    tilt = CorrelationPolicy(
        portfolio_var_max_e6=WIDE_E6, family_var_max_e6=WIDE_E6, tilt_max_e6=80 * DOLLAR
    )
    policy = wide(correlation=tilt)
    assert desk(policy=policy).counts(quote(count_e2=10**6)) == [(20_000, "correlation_var")]


def with_ranges(policy) -> Desk:
    """A desk that knows the event as three ranges, with room below and above them."""
    known = desk(policy=policy)
    ranges = replace(
        builders.definition(),
        ladder_id="ranges",
        kind="partition",
        strike_types=("between",) * 3,
        floors_e4=(52_000_000, 52_250_000, 52_500_000),
        caps_e4=(52_249_900, 52_499_900, 52_749_900),
    )
    known.desk.define(ranges, NOW)
    known.fair((0.1, 0.5, 0.1), NOW + 1, ladder_id="ranges")
    return known


def test_of_ranges_one_pays_at_most():
    """Two asks never lose together: each may lose the day's $60. Two bids lose in all the rest."""
    budget = PortfolioPolicy(loss_day_max_e6=60 * DOLLAR)
    known = with_ranges(wide(portfolio=budget, pal=NO_PAL))
    asks = [quote(rung, side="ask", p=0.2, count_e2=10**6) for rung in (0, 1)]
    assert [q.count_e2 for q in known.size(*asks).quotes] == [10_000, 10_000]
    bids = [quote(rung, price_e4=3_000, p=0.45, count_e2=10**6) for rung in (0, 1)]
    sized = known.size(*bids).quotes
    assert 59 * DOLLAR < sum(q.price_e4 * q.count_e2 for q in sized) <= 60 * DOLLAR


@pytest.mark.parametrize(("rung", "count_e2"), [(0, 20_000), (1, 20_000), (2, 20_000)])
def test_the_tilt_of_a_partition_counts_none_of_them_at_either_end(rung, count_e2):
    """A range that is bid loses in every other outcome, one at an end too."""
    tilt = CorrelationPolicy(
        portfolio_var_max_e6=WIDE_E6, family_var_max_e6=WIDE_E6, tilt_max_e6=80 * DOLLAR
    )
    known = with_ranges(wide(correlation=tilt))
    asked = quote(rung, count_e2=10**6, p=0.5)
    assert known.counts(asked) == [(count_e2, "correlation_var")]


def test_sigma_of_the_family_holds():
    """σ of a contract at p .5 is 50 cents; $2,050 at z 2.05 are σ $1,000: 2,000 contracts."""
    sigma = CorrelationPolicy(
        family_var_max_e6=2_050 * DOLLAR, portfolio_var_max_e6=WIDE_E6, tilt_max_e6=WIDE_E6
    )
    policy = wide(correlation=sigma, pal=NO_PAL)
    assert desk(policy=policy).counts(quote(count_e2=10**7)) == [(200_000, "correlation_var")]


def test_a_family_may_be_further_up_the_ladder():
    policy = SizingPolicy(
        size_ladder=SizeLadderPolicy(family_stage={"INXU": "C"}), pilot=PilotPolicy(active=False)
    )
    assert desk(policy=policy).counts(quote(count_e2=10**4)) == [(1000, "size_ladder")]


FOMC_NS = 1_718_208_000 * S  # 2024-06-12 12:00 in New York, FOMC and CPI on one day
CPI_NS = 1_720_713_600 * S  # 2024-07-11 12:00 in New York


@pytest.mark.parametrize(("target_ns", "left_e2"), [(CPI_NS, 800), (FOMC_NS, 400)])
def test_a_regime_multiplies_what_is_asked_and_every_limit(target_ns, left_e2):
    """CPI ×.8, FOMC ×.5, both ×.4."""
    assert desk().counts(quote(count_e2=1000), target_ns=target_ns) == [(left_e2, "regime")]
    big = desk().counts(quote(count_e2=10**7), target_ns=target_ns)
    assert big == [(left_e2 * 250, "regime")]


@pytest.mark.parametrize(
    ("day", "left_e2"),
    [
        (date(2027, 1, 7), 1_000),
        (date(2027, 1, 13), 800),  # no date of CPI is known of that year: it may be that day
        (date(2027, 1, 27), 500),  # FOMC
        (date(2027, 3, 17), 400),  # FOMC, and perhaps CPI
    ],
)
def test_where_the_dates_of_cpi_end_a_day_on_which_it_may_fall_counts(day, left_e2):
    target_ns = eastern_ns(day, 12)
    expected = [(left_e2, "asked" if left_e2 == 1_000 else "regime")]
    assert desk().counts(quote(count_e2=1000), target_ns=target_ns) == expected


def test_a_day_outside_the_table_of_releases_is_not_sized():
    sizing = desk().size(quote(), target_ns=2_000_000_000 * S)
    assert failed(sizing) == [("regime", "regime_unknown")]
    assert [q.limited_by for q in sizing.withheld] == ["regime"]


def test_without_a_pmf_nothing_is_sized():
    fresh = Desk(wide())
    fresh.desk._known.clear()
    assert failed(fresh.size(quote())) == [("pmf", "pmf_missing")]


@pytest.mark.parametrize(("behind_s", "reason"), [(10, ""), (11, "pmf_stale")])
def test_a_pmf_goes_stale_behind_its_proposal(behind_s, reason):
    found = failed(desk().size(quote(), level_ns=NOW + behind_s * S))
    assert found == ([("pmf", reason)] if reason else [])


@pytest.mark.parametrize(
    "quotes",
    [
        (quote(0, p=0.4), quote(1, p=0.6)),
        (quote(1, p=0.5), quote(1, side="ask", p=0.4)),
    ],
)
def test_quotes_that_contradict_each_other_are_not_sized(quotes):
    assert failed(desk().size(*quotes)) == [("pmf", "pmf_incoherent")]


def test_a_fair_ladder_of_another_definition_is_no_pmf():
    other = desk()
    other.fair((0.9, 0.5, 0.1), NOW + 1, ladder_id="ladder-2")
    assert failed(other.size(quote())) == [("pmf", "pmf_missing")]


def test_unchanged_inputs_give_the_same_answer_without_solving():
    known = desk()
    first = known.size(quote())
    assert known.size(quote(), now_ns=NOW + 1) is first
    known.told(fill(100))
    assert known.size(quote(), now_ns=NOW + 2) is not first


def test_policies_that_limit_nothing_limit_nothing():
    policy = wide(pal=NO_PAL, portfolio=NO_PORTFOLIO, correlation=NO_CORRELATION)
    assert desk(policy=policy).counts(quote(count_e2=10**7)) == [(10**7, "asked")]


def test_a_days_losses_shrink_the_budget_and_gains_do_not_grow_it():
    """$100 a day: $40 lost leave $60, that is 150 contracts at 40 cents."""
    policy = wide(portfolio=PortfolioPolicy(loss_day_max_e6=100 * DOLLAR), pal=NO_PAL)
    lost = fill(10_000, ticker=TICKERS[0], trade="x")
    asked = quote(count_e2=10**6)
    for result, left_e2 in (("no", 15_000), ("yes", 25_000)):
        known = desk(lost, settlement(result, ticker=TICKERS[0]), policy=policy)
        assert known.counts(asked) == [(left_e2, "loss_budget")]


def test_gates_show_the_value_and_the_limit_that_counts():
    """On a CPI day 2,000 contracts at 40 cents: $800, all that ×.8 of PAL lets one strike lose."""
    sizing = desk().size(quote(count_e2=10**7), target_ns=CPI_NS)
    shown = {gate.gate: (gate.measured, gate.limit) for gate in sizing.gates}
    assert shown["pal"] == (800.0, 800.0)
    assert shown["regime"] == (0.8, 1.0)
    assert shown["loss_budget"][0] == shown["family_loss"][0] == 800.0
    # σ of a contract at even odds is 50 cents.
    assert shown["correlation_var"][0] == pytest.approx(2_000 * 0.5 * 2.05)


@pytest.mark.parametrize(
    ("pal", "budget", "left_e2"),
    [(400, 250, [(50_000, "loss_budget")]), (400, None, [(80_000, "pal")]), (0, 250, [])],
)
def test_caps_golden(pal, budget, left_e2):
    """1,000 are asked at 50 cents: PAL leaves 800, factor VaR 1,200, the day's budget 500.

    A loss of $600 in CPI is a factor VaR of $801.04 (1.3350655 a dollar).
    """
    portfolio = replace(NO_PORTFOLIO, factor_var_max_e6=801_040_000)
    if budget is not None:
        portfolio = replace(portfolio, loss_day_max_e6=budget * DOLLAR)
    policy = wide(portfolio=portfolio, pal=PalPolicy(family_e6={"CPI": pal * DOLLAR}))
    known = desk(policy=policy, probabilities=(0.9, 0.8, 0.1))
    asked = quote(price_e4=5_000, p=0.8, count_e2=100_000)
    assert known.counts(asked, family="CPI") == left_e2
    unlimited = wide(portfolio=replace(portfolio, loss_day_max_e6=WIDE_E6), pal=WIDE_CPI)
    more = desk(policy=unlimited, probabilities=(0.9, 0.8, 0.1))
    assert more.counts(replace(asked, count_e2=10**6), family="CPI") == [(120_000, "factor_var")]


@pytest.mark.parametrize(
    ("used", "price_e4", "left"), [(0, 2_500, 4), (60, 1_000, 4), (95, 1_000, 0)]
)
def test_loss_budget_golden(used, price_e4, left):
    """Of 100 cents: 4 at 25; after 60 are used 4 at 10; after 35 more none of 10."""
    policy = wide(portfolio=PortfolioPolicy(loss_day_max_e6=DOLLAR), pal=NO_PAL)
    held = [fill(100, ticker=TICKERS[0], price_e4=used * 100, trade="u")] if used else []
    found = desk(*held, policy=policy).counts(quote(price_e4=price_e4, count_e2=1_000))
    assert found == ([(left * 100, "loss_budget")] if left else [])
