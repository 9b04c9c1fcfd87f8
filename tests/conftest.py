"""Make the repository root importable, keep Hypothesis runs repeatable in CI, share tests out
among the processes of `make test`.
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
pytest_plugins = ["tests.nats_fixture"]

TOGETHER = {"chaos": "stacks", "e2e": "stacks", "conformance": "conformance"}
"""Directories whose tests stay in one process: whole systems, and one simulator for many tests."""


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """Hand out whole files, and of some directories all files, to one process."""

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return next((TOGETHER[part] for part in file.split("/") if part in TOGETHER), file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByFile:
    """Give xdist our own scheduler."""
    return ByFile(config, log)
