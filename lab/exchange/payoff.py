"""Which side of a market a final level pays."""

from lab.exchange.model import MarketSpec


def pays_yes(spec: MarketSpec, level_e4: int) -> bool:
    """Say whether YES wins at that level; `between` includes both its ends."""
    floor_e4, cap_e4 = spec.floor_e4, spec.cap_e4
    match spec.strike_type:
        case "greater":
            assert floor_e4 is not None, f"{spec.ticker}: greater needs a floor"
            return level_e4 > floor_e4
        case "greater_or_equal":
            assert floor_e4 is not None, f"{spec.ticker}: greater_or_equal needs a floor"
            return level_e4 >= floor_e4
        case "less":
            assert cap_e4 is not None, f"{spec.ticker}: less needs a cap"
            return level_e4 < cap_e4
        case "less_or_equal":
            assert cap_e4 is not None, f"{spec.ticker}: less_or_equal needs a cap"
            return level_e4 <= cap_e4
        case "between":
            assert floor_e4 is not None, f"{spec.ticker}: between needs a floor"
            assert cap_e4 is not None, f"{spec.ticker}: between needs a cap"
            return floor_e4 <= level_e4 <= cap_e4
