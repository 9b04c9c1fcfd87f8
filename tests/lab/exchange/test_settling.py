"""What settles is the reported level: an index has more decimals than its report."""

import pytest

from lab.exchange.engine import Engine
from lab.exchange.ladders import LadderConfig, build_ladder
from lab.exchange.settling import settle_closed

S = 1_000_000_000
CLOSE = 1_722_888_000 * S  # 2024-08-05 16:00 in New York
RANGES = LadderConfig(
    series="KXNASDAQ100", target_ns=CLOSE, centre_e4=178_500_000, step_e4=1_000_000, rungs=8
)
HOURLY = LadderConfig(
    series="KXNASDAQ100U", target_ns=CLOSE, centre_e4=178_500_000, step_e4=100_000, rungs=20
)


@pytest.mark.parametrize(
    ("level_e4", "pays"),
    [
        (178_000_000, "B17850"),  # 17,800.00, the lower end: included
        (178_999_999, "B17950"),  # 17,899.9999 is reported as 17,900.00
        (178_999_950, "B17950"),  # halves upwards
        (178_999_949, "B17850"),  # 17,899.99, the upper end: included
        (179_000_000, "B17950"),
    ],
)
def test_of_a_partition_the_range_that_holds_the_reported_level_pays(level_e4, pays):
    engine = Engine(1)
    engine.advance(CLOSE - 60 * S)
    for config in (RANGES, HOURLY):
        engine.add_ladder(build_ladder(config), CLOSE - 60 * S)
    engine.advance(CLOSE)
    settle_closed(engine, lambda symbol, target_ns: level_e4, CLOSE)
    paid = [
        market.spec.ticker
        for market in engine.event_markets("KXNASDAQ100-24AUG05H1600")
        if market.result == "yes"
    ]
    assert paid == [f"KXNASDAQ100-24AUG05H1600-{pays}"]
    above = engine.market("KXNASDAQ100U-24AUG05H1600-T17899.9999")
    assert above.result == ("yes" if pays == "B17950" else "no")  # one report for both ladders
