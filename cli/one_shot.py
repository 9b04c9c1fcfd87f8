"""Run a one-shot module of the broker's, which alone may hold keys, and read what it found."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from cli.errors import OperatingError
from cli.processes import ROOT
from libs.common.config import ConfigError

EXIT_USAGE = 2


def run_one_shot(module: str, words: Sequence[str], timeout_s: float) -> tuple[dict[str, Any], int]:
    """Return the module's JSON and exit code; raise ConfigError for bad input, OperatingError."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own module
            [sys.executable, "-m", module, *words],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired:
        raise OperatingError(f"{module}: no result within {timeout_s:.0f} s") from None
    complaint = (ended.stderr.strip().splitlines() or [f"{module}: no result"])[-1]
    if ended.returncode == EXIT_USAGE:
        raise ConfigError(complaint)
    try:
        return dict(json.loads(ended.stdout)), ended.returncode
    except ValueError:
        raise OperatingError(complaint) from None
