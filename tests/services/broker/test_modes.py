"""What each mode needs (domain.md §4), over all combinations: each thing missing is named."""

import itertools

import msgspec
import pytest

from libs.common.readiness import Readiness, problem_of
from services.broker.modes import Situation, missing

HERE = ("http://127.0.0.1:80/trade-api/v2", "ws://127.0.0.1:80/trade-api/ws/v2")
KALSHI = (
    "https://external-api.kalshi.com/trade-api/v2",
    "wss://external-api-ws.kalshi.com/trade-api/ws/v2",
)
MIXED = (KALSHI[0], HERE[1])
PLAIN = ("http://external-api.kalshi.com/trade-api/v2", KALSHI[1])
INDEX_HERE = "ws://127.0.0.1:81/indices"
INDEX_LIVE = "wss://socket.massive.com/indices"
INDEX_PLAIN = "ws://socket.massive.com/indices"
S = 1_000_000_000

ALL = list(
    itertools.product(
        ("sim", "dry", "live"),
        (HERE, KALSHI, MIXED, PLAIN),
        (None, INDEX_HERE, INDEX_LIVE, INDEX_PLAIN),
        ("", "found none"),
        ("", "mode 0644"),
        ("", "KXINXU: nothing is stored"),
        (True, False),
    )
)


def expected(mode, exchange, index, key, index_key, readiness, consent):
    """Return what must be named: the rules of domain.md §4 written down a second time."""
    exchanges = {"sim": [HERE], "dry": [HERE, KALSHI], "live": [KALSHI]}
    inputs = [None, INDEX_LIVE] if exchange[0] != HERE[0] else [None, INDEX_HERE, INDEX_LIVE]
    rules = {
        "exchange": exchange in exchanges[mode],
        "inputs": index in inputs or exchange[0] == HERE[0],
        "exchange key": not key,
        "index key": not index_key,
        "readiness": mode != "live" or not readiness,
        "consent": mode != "live" or consent,
    }
    return {name for name, kept in rules.items() if not kept}


def test_everything_missing_is_named_and_nothing_else():
    assert len(ALL) == 3 * 4 * 4 * 16
    for mode, exchange, index, key, index_key, readiness, consent in ALL:
        situation = Situation(
            mode=mode,
            rest_url=exchange[0],
            ws_url=exchange[1],
            index_url=index,
            key_problem=key,
            index_key_problem=index_key,
            readiness_problem=readiness,
            risks_understood=consent,
        )
        named = [line.partition(":")[0] for line in missing(situation)]
        wanted = expected(mode, exchange, index, key, index_key, readiness, consent)
        assert sorted(named) == sorted(wanted), situation


def test_of_all_combinations_one_starts_live():
    """With the index known; a broker, which does not know it, relies on each verdict's word."""
    starts = [
        row[1:] for row in ALL if row[0] == "live" and row[2] is not None and not expected(*row)
    ]
    assert starts == [(KALSHI, INDEX_LIVE, "", "", "", True)]


@pytest.mark.parametrize(
    ("stored", "problem"),
    [
        (None, "KXINXU: nothing is stored"),
        (b"{", "KXINXU: unreadable"),
        (b"\xff", "KXINXU: unreadable"),
        (b'{"series_ticker":"KXINXU","go":1,"expires_ns":9}', "KXINXU: unreadable"),
        (Readiness(series_ticker="KXINXU", go=False, expires_ns=100 * S), "no reason given"),
        (
            Readiness(series_ticker="KXINXU", go=False, expires_ns=100 * S, reason="fills 12"),
            "KXINXU: NO-GO, fills 12",
        ),
        (Readiness(series_ticker="KXCPI", go=True, expires_ns=100 * S), "that of KXCPI"),
        (Readiness(series_ticker="KXINXU", go=True, expires_ns=50 * S), "expired at"),
    ],
)
def test_only_a_go_that_still_holds_is_a_go(stored, problem):
    data = msgspec.json.encode(stored) if isinstance(stored, Readiness) else stored
    assert problem in problem_of(data, "KXINXU", 50 * S)
    go = Readiness(series_ticker="KXINXU", go=True, expires_ns=50 * S)
    assert problem_of(msgspec.json.encode(go), "KXINXU", 50 * S - 1) == ""
