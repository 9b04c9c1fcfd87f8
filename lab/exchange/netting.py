"""Collateral return: what one account's positions in one event pay at worst.

docs/exchange-simulator.md has the arithmetic and where it comes from.
"""

from collections.abc import Sequence
from itertools import accumulate


def guaranteed_e2(counts_e2: Sequence[int], *, mutually_exclusive: bool) -> int:
    """Return the contracts that pay whatever the outcome, of signed positions in rung order."""
    no_e2 = sum(-count for count in counts_e2 if count < 0)
    if not no_e2:
        return 0
    if mutually_exclusive:
        # At most one market resolves to yes: every NO pays but the largest one.
        return no_e2 + min(counts_e2)
    # The outcome passes some thresholds from below: each turns its NO to nothing, its YES to $1.
    return no_e2 + min(0, *accumulate(counts_e2))
