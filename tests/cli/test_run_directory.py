"""The folder of a run: what is kept from one `alpha up` to the next, and what is not."""

from pathlib import Path

from cli.run_directory import KEEP_RUNS, RunDirectory


def test_a_new_run_finds_nothing_of_the_exchange_before_it(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "up")
    run.set_aside("0")
    assert not (run.root / "before").exists()
    token = run.token("admin.token").read_text()
    for number in range(KEEP_RUNS + 2):
        (run.root / "nats").mkdir()
        (run.root / "nats" / "stream").write_text(f"orders {number}")
        run.truth_log.write_text("{}\n")
        run.set_aside(f"{number + 1}")
        assert not (run.root / "nats").exists()
        assert not run.truth_log.exists()
    kept = sorted(path.name for path in (run.root / "before").iterdir())
    assert kept == [f"{number}" for number in range(3, KEEP_RUNS + 3)]
    assert (run.root / "before" / "7" / "nats" / "stream").read_text() == "orders 6"
    assert run.token("admin.token").read_text() == token
