"""The numbered conformance cases: which operations each drives, and what is out of scope."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.conformance.sdk import Sdk

Test = Callable[..., Awaitable[list[Sdk] | None]]


@dataclass(frozen=True)
class Case:
    """One case: its number, what it says, and the operations that it must have driven."""

    number: str
    title: str
    operations: frozenset[str]


CASES: dict[str, Case] = {}


def case(number: str, *operations: str) -> Callable[[Test], Callable[..., Awaitable[None]]]:
    """Register a test that drives these operations; its run proves that it does.

    They go through its fixture `sdk`, or each through all of the clients that it returns.
    """

    def keep(test: Test) -> Callable[..., Awaitable[None]]:
        assert number not in CASES, f"{number} is taken"
        assert test.__doc__, f"{number}: expected a docstring"
        CASES[number] = Case(number, test.__doc__.strip().splitlines()[0], frozenset(operations))

        @functools.wraps(test)
        async def run(**fixtures: Any) -> None:
            clients = await test(**fixtures)
            for client in clients or ([fixtures["sdk"]] if operations else []):
                missing = set(operations) - client.driven
                assert not missing, f"{number}: expected {sorted(missing)} to be driven"

        return run

    return keep
