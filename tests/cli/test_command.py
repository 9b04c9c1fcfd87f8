"""The `alpha` command as a person meets it: help, wrong arguments, nothing running."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ALPHA = Path(sys.executable).parent / "alpha"


def alpha(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ALPHA_HOME": str(home), "COLUMNS": "200"}
    return subprocess.run(
        [str(ALPHA), *arguments], env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    "words", [["--help"], ["demo", "-h"], ["up", "--help"], ["sim", "exchange", "--help"]]
)
def test_help(tmp_path: Path, words: list[str]) -> None:
    shown = alpha(tmp_path, *words)
    assert shown.returncode == 0
    assert "Usage" in shown.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["demo", "--date", "someday"], 2, "--date: expected YYYY-MM-DD, given 'someday'"),
        (["demo", "--date", "2026-10-03"], 2, "2026-10-03 has no hourly event"),
        (["demo", "--bars", "none.parquet"], 2, "expected a readable Parquet file"),
        (["demo", "--speed", "0"], 2, "--speed"),
        (["demo", "--colour"], 2, "No such option"),
        (["demo", "--fault", "hiccup"], 2, "expected a form like silence@+120s:5s"),
        (["sim", "exchange", "--keys", "nowhere"], 2, "nowhere"),
        (["sim", "exchange", "--keys", ".", "--tier", "gold"], 2, "gold"),
        (["sim", "exchange", "--keys", ".", "--scenario", "none.yaml"], 2, "none.yaml"),
        (["sim", "exchange", "--keys", ".", "--admin-port", "0"], 2, "expected both or none"),
        (["sim", "index", "--key-file", "none"], 2, "expected a readable file at none"),
        (["kill-switch", "on"], 3, "nothing is up"),
        (["kill-switch", "status"], 3, "nothing is up"),
        (["status"], 3, "nothing is up"),
        (["monitors"], 3, "nothing is up"),
        (["freshness"], 3, "nothing is up"),
        (["watch"], 3, "nothing is up"),
        (["report"], 3, "nothing is up"),
        (["reset-group", "KXINXU-26OCT02H1200"], 3, "nothing is up"),
    ],
)
def test_one_line_says_what_was_expected(
    tmp_path: Path, words: list[str], code: int, said: str
) -> None:
    shown = alpha(tmp_path, *words)
    assert said in shown.stderr
    assert shown.returncode == code
    assert "Traceback" not in shown.stderr
    assert not list(tmp_path.glob("demo/*/state.json"))


def test_the_exchange_alone_serves_and_leaves_its_record(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir()
    public = Ed25519PrivateKey.generate().public_key()
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (keys / "abc.pub.pem").write_bytes(pem)
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text("- {fault: answer, status: 503, where: {operations: [GetSeries]}}")
    words = ["--host", "127.0.0.1", "--port", "0", "--seed", "3", "--keys", str(keys)]
    for _ in range(2):
        process = subprocess.Popen(
            [str(ALPHA), "sim", "exchange", *words, "--scenario", str(scenario)],
            env={**os.environ, "ALPHA_HOME": str(tmp_path)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            assert process.stdout is not None
            found = re.fullmatch(
                r"exchange ready at (http://127.0.0.1:\d+/trade-api/v2)\n",
                process.stdout.readline(),
            )
            assert found
            assert httpx.get(f"{found[1]}/exchange/status").json()["exchange_active"] is True
            assert httpx.get(f"{found[1]}/series/KXINXU").status_code == 503
        finally:
            process.terminate()
            out, err = process.communicate(timeout=20)
        assert (process.returncode, out, err) == (0, "", "")
    assert len(list((tmp_path / "sim").glob("*.truth.jsonl"))) == 2


def test_nothing_is_up(tmp_path: Path) -> None:
    shown = alpha(tmp_path, "status", "--json")
    assert (shown.returncode, json.loads(shown.stdout)) == (3, {"running": False})
    assert alpha(tmp_path, "down").returncode == 0
    for words in (["watch"], ["report"], ["report", "--json"]):
        assert alpha(tmp_path, *words).returncode == 3


@pytest.mark.parametrize("command", ["status", "monitors", "freshness", "report"])
def test_a_script_is_told_in_json_that_nothing_is_up(tmp_path: Path, command: str) -> None:
    shown = alpha(tmp_path, command, "--json")
    assert (json.loads(shown.stdout), shown.returncode) == ({"running": False}, 3)
