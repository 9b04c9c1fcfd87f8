"""No operation is forgotten: each is driven by a case, or left out for a reason."""

import importlib
from collections import Counter
from pathlib import Path

from lab.exchange.routes import PREFIX, ROUTES, Access
from libs.kalshi import endpoints
from tests.conformance.cases import CASES
from tests.conformance.scope import IN_SCOPE, OUT_OF_SCOPE
from tests.conformance.sdk import operations

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "conformance.md"
NOT_OURS = {name for names in OUT_OF_SCOPE.values() for name in names}


def all_cases() -> None:
    for path in sorted(HERE.glob("test_*.py")):
        importlib.import_module(f"tests.conformance.{path.stem}")


def test_every_official_operation_is_in_scope_or_out_of_it_for_a_reason() -> None:
    assert set(operations()) == IN_SCOPE | NOT_OURS
    assert set() == IN_SCOPE & NOT_OURS
    named = Counter(name for names in OUT_OF_SCOPE.values() for name in names)
    assert max(named.values()) == 1


def test_every_operation_of_the_scope_is_driven_by_a_case() -> None:
    all_cases()
    driven = {name for one in CASES.values() for name in one.operations}
    assert driven == IN_SCOPE


def test_the_simulator_serves_the_scope_under_the_official_paths() -> None:
    served = {
        route.operation: (route.method, route.path)
        for route in ROUTES
        if route.access is not Access.GONE
    }
    official = operations()
    assert served == {name: official[name] for name in IN_SCOPE}
    assert PREFIX == "/trade-api/v2"


def test_what_our_client_calls_is_in_scope() -> None:
    official = {call: name for name, call in operations().items()}
    calls = [each for each in vars(endpoints).values() if isinstance(each, endpoints.Endpoint)]
    assert len(calls) > 30
    unknown = {(each.method, each.template) for each in calls} - set(official)
    assert not unknown
    assert {official[each.method, each.template] for each in calls} <= IN_SCOPE


def test_the_page_lists_every_case() -> None:
    all_cases()
    lines = PAGE.read_text(encoding="utf-8").splitlines()
    shown = [line for line in lines if line.startswith("| C")]
    assert shown == [f"| {number} | {CASES[number].title} |" for number in sorted(CASES)]
