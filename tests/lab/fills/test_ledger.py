"""From a ledger on disk to an artifact and a page, as the commands do it."""

import json

import polars as pl
import pytest
from typer.testing import CliRunner

from cli.main import app
from lab.fills.ledger import observe
from lab.runs import LedgerUnreadable
from libs.common.config import ConfigError
from services.pricer.artifacts import load_fills
from services.reporting.ledger import Ledger
from tests.lab.fills.orders import fair, fill, intent, opening, update
from tests.services.pricer.builders import OPEN, S
from tests.services.reporting.making import Streams

AT = OPEN + 60 * S


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run's directory with a ledger of two orders, one of which filled."""
    root = tmp_path_factory.mktemp("run")
    streams = Streams()
    streams.add(
        *opening(),
        intent(AT),
        update(AT + S, "resting"),
        update(AT + 13 * S, "cancelled"),
        intent(AT + 20 * S, client="c2"),
        update(AT + 21 * S, "resting", client="c2"),
        fill(AT + 27 * S, client="c2"),
        update(AT + 27 * S, "filled", client="c2", filled_e2=100),
        fair(AT + 60 * S, 0.46),
    )
    ledger = Ledger(str(root / "ledger"))
    ledger.insert(streams.rows())
    ledger.close()
    return root


def invoke(*words):
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def test_a_ledger_is_read_in_the_order_of_publication(run):
    found = observe(run)
    assert [order.share for order in found.orders] == [0.0, 1.0]
    assert [markout.adverse_cents for markout in found.markouts] == [pytest.approx(4.0)]
    assert found == observe(run / "ledger")


def test_from_a_run_to_an_artifact_and_a_page(run, tmp_path):
    model, out, page = (tmp_path / name for name in ("fills.json", "score.json", "page.md"))
    shown = invoke("fit", "fills", "--ledger", run, "--out", model)
    assert shown.exit_code == 0
    assert "1 without a fill" in shown.output
    assert load_fills(model).counts["orders"] == 2
    assert (
        invoke(
            "score", "fills", "--ledger", run, "--model", model, "--json", out, "--report", page
        ).exit_code
        == 0
    )
    report = json.loads(out.read_text())
    assert report["in_sample"]
    assert report["orders"] == 2
    assert page.read_text().startswith("# Fill model fills-")


def test_a_backtest_says_what_really_stood_before_us(run, tmp_path):
    """Orders come back to a price: stays in turn. What the exchange does not name stays unknown."""
    stays = run / "resting.parquet"
    pl.DataFrame(
        {"client_order_id": ["c2"], "price_e4": [3600], "ahead_e2": [700], "filled_e2": [100]}
    ).write_parquet(stays)
    try:
        assert [order.queue_e2 for order in observe(run).orders] == [None, 700]
        shown = invoke("score", "fills", "--ledger", run, "--json", tmp_path / "score.json")
        stays.write_bytes(b"no table")
        with pytest.raises(LedgerUnreadable, match=r"resting\.parquet"):
            observe(run)
    finally:
        stays.unlink()
    assert "| 0.5 to 10.5 contracts | 1 | 0.0 |" in shown.output


def test_where_no_ledger_is_nothing_is_made(tmp_path):
    with pytest.raises(LedgerUnreadable, match="found none"):
        observe(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ConfigError, match="found none"):
        invoke("fit", "fills", "--ledger", tmp_path, "--out", tmp_path / "x.json")
    with pytest.raises(ConfigError, match="alpha fit fills"):
        invoke(
            "score", "fills", "--ledger", tmp_path, "--model", tmp_path / "x.json",
            "--json", tmp_path / "y.json",
        )  # fmt: skip


def test_a_ledger_in_use_is_said_to_be(run):
    held = Ledger(str(run / "ledger"))
    try:
        with pytest.raises(LedgerUnreadable, match="only user"):
            observe(run)
    finally:
        held.close()
