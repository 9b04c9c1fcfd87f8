"""How long everything takes in a driven run: seeded, so that the same seed takes the same time."""

import random

from msgspec import Struct

from libs.common.clock import NS_PER_S


class Latency(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Seconds, from `configs/lab.yaml`. Each way of a wire takes its `_s` and a drawn part more.

    The drawn part is exponential with mean `jitter` times the fixed one, at most ten times it.
    """

    hop_s: float = 0.0015
    """From a publish to its reader's decision."""
    intent_s: float = 0.004
    """From an intent to its acknowledgement, which an order waits for."""
    request_s: float = 0.003
    """A request to the exchange, and its answer back: each."""
    frame_s: float = 0.010
    """A frame of the exchange's socket to us."""
    index_s: float = 0.100
    """An index bar from its end to us."""
    jitter: float = 0.3

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if not 0.0 <= getattr(self, name) <= 10.0:
                raise ValueError(f"{name}: expected 0 to 10, got {getattr(self, name)}")


class Line:
    """One wire: what goes in first comes out first."""

    def __init__(self, seconds: float, jitter: float, dice: random.Random) -> None:
        self._fixed_ns = round(seconds * NS_PER_S)
        self._mean_ns = seconds * jitter * NS_PER_S
        self._dice = dice
        self._last_ns = 0

    def arrival_ns(self, now_ns: int) -> int:
        """Return when what is sent now arrives."""
        arrives_ns = now_ns + self._fixed_ns
        if self._mean_ns:
            drawn = self._dice.expovariate(1.0 / self._mean_ns)
            arrives_ns += round(min(drawn, 10.0 * self._mean_ns))
        self._last_ns = max(self._last_ns, arrives_ns)
        return self._last_ns
