"""Say which index path a run follows, so that each of its processes builds the same one."""

from pathlib import Path

from msgspec import Struct, field

from lab.market.bars import read_bars, resolve_bars
from lab.market.path import IndexPath


class PathConfig(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A seed, files of real minute bars (siblings are found), levels at which sessions begin.

    `base_levels_e4` is by symbol, as I:SPX, and concerns synthetic sessions only, as does
    `around_the_clock`: they are NYSE's, or whole UTC days.
    """

    seed: int = 1
    bars: tuple[str, ...] = ()
    base_levels_e4: dict[str, int] = field(default_factory=dict)
    around_the_clock: bool = False

    def __post_init__(self) -> None:
        for symbol, level_e4 in self.base_levels_e4.items():
            if not 0 < level_e4 < 10_000_000_000:
                raise ValueError(f"base level of {symbol}: expected 0 to 1000000, got {level_e4}")


def build_path(config: PathConfig) -> IndexPath:
    """Read and bridge the bars and return the path. Raises BarsError."""
    files = resolve_bars([Path(name) for name in config.bars])
    bars = {symbol: read_bars(path, symbol) for symbol, path in sorted(files.items())}
    return IndexPath(
        config.seed, bars, config.base_levels_e4, around_the_clock=config.around_the_clock
    )
