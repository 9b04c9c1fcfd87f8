"""`alpha override`: the operator's key, and what is asked of it before anything is sent."""

import stat

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from typer.testing import CliRunner

from cli.errors import OperatingError
from cli.keys import operator_key_of, read_operator_key, sign_as_operator, write_operator_key
from cli.main import app
from libs.common.config import ConfigError
from services.risk.signatures import public_key


@pytest.fixture(autouse=True)
def nothing_is_up(tmp_path, monkeypatch):
    monkeypatch.setenv("ALPHA_HOME", str(tmp_path / "home"))


def run(*words):
    return CliRunner().invoke(app, ["override", *words], env={"COLUMNS": "200"})


def test_keygen_makes_a_key_that_risk_takes(tmp_path):
    out = tmp_path / "operator.pem"
    result = run("keygen", "--out", str(out))
    assert result.exit_code == 0
    name, _, text = result.output.strip().partition(": ")
    assert (name, text) == ("operator_key", operator_key_of(out))
    assert isinstance(public_key(text), Ed25519PublicKey)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    public_key(text).verify(bytes.fromhex(sign_as_operator(out, b"word")), b"word")


def test_the_public_half_is_read_as_it_was_printed(tmp_path):
    private, public = tmp_path / "operator.pem", tmp_path / "operator.pub"
    public.write_text(run("keygen", "--out", str(private)).output)
    assert read_operator_key(public) == operator_key_of(private)
    public.write_text(operator_key_of(private))
    assert read_operator_key(public) == operator_key_of(private)
    for wrong, why in ((private, "64 hex digits"), (tmp_path / "missing", "No such file")):
        with pytest.raises(ConfigError, match=f"--operator-key: .*{why}"):
            read_operator_key(wrong)


def test_a_key_is_never_overwritten(tmp_path):
    out = tmp_path / "operator.pem"
    write_operator_key(out)
    before = out.read_bytes()
    result = run("keygen", "--out", str(out))
    assert isinstance(result.exception, ConfigError)
    assert "expected a new file" in str(result.exception)
    assert out.read_bytes() == before


def test_what_is_no_operators_key_is_refused_in_words(tmp_path):
    missing, garbage, other = (tmp_path / name for name in ("missing", "garbage", "rsa"))
    garbage.write_text("garbage")
    other.write_bytes(
        generate_private_key(65_537, 2_048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    for path, why in (
        (missing, "keygen"),
        (garbage, "Ed25519 key in PEM"),
        (other, "another kind"),
    ):
        with pytest.raises(ConfigError, match=why):
            sign_as_operator(path, b"word")


@pytest.mark.parametrize(
    "words",
    [
        ("lift-panic", "--reason", "seen to it"),
        ("acknowledge-fees", "KXINXU", "hash", "--reason", "read"),
        ("stage", "B", "--reason", "200 fills"),
        ("list",),
    ],
)
def test_when_nothing_is_up_that_is_said(words):
    result = run(*words)
    assert isinstance(result.exception, OperatingError)
    assert "nothing is up" in str(result.exception)


def test_a_reason_is_demanded_and_a_week_is_the_most():
    assert run("lift-panic").exit_code == 2
    assert run("lift-panic", "--reason", "x", "--hours", "169").exit_code == 2
