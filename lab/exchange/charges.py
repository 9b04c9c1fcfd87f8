"""What one fill costs its account, by the series' published fees (kalshi-api.md section 5)."""

from fractions import Fraction

from lab.exchange.model import ONE_DOLLAR_E4, SeriesSpec

BALANCE_UNIT_E6 = 100
_TAKER_RATE = Fraction(7, 100)
_MAKER_SHARE = {
    "quadratic": Fraction(0),
    "quadratic_with_maker_fees": Fraction(1, 4),
    "quadratic_with_combo_maker_fees": Fraction(1, 2),
}


def trade_fee_e6(series: SeriesSpec, price_e4: int, count_e2: int, *, is_taker: bool) -> int:
    """Return the model fee, ceiled to one micro-dollar."""
    rate = _TAKER_RATE * Fraction(series.fee_multiplier)
    if not is_taker:
        rate *= _MAKER_SHARE[series.fee_type]
    scaled = count_e2 * price_e4 * (ONE_DOLLAR_E4 - price_e4) * rate.numerator
    return -(-scaled // (rate.denominator * ONE_DOLLAR_E4))


def net_fee(
    series: SeriesSpec,
    price_e4: int,
    count_e2: int,
    revenue_e6: int,
    carry_e6: int,
    *,
    is_taker: bool,
) -> tuple[int, int]:
    """Return (fee with rounding and rebate, the order's new rounding carry), in e6."""
    fee_e6 = trade_fee_e6(series, price_e4, count_e2, is_taker=is_taker)
    rounding_e6 = (revenue_e6 - fee_e6) % BALANCE_UNIT_E6
    carry_e6 += rounding_e6
    rebate_e6 = min(carry_e6, fee_e6 + rounding_e6) // BALANCE_UNIT_E6 * BALANCE_UNIT_E6
    return fee_e6 + rounding_e6 - rebate_e6, carry_e6 - rebate_e6


def fee_bound_e6(
    series: SeriesSpec, low_e4: int, high_e4: int, count_e2: int, *, is_taker: bool
) -> int:
    """Return the most that fills between two prices can cost in fees before rounding."""
    worst_e4 = min(max(low_e4, ONE_DOLLAR_E4 // 2), high_e4)
    return trade_fee_e6(series, worst_e4, count_e2, is_taker=is_taker)
