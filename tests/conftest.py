"""Make the repository root importable, keep Hypothesis runs repeatable in CI, share tests out
among the processes of `make test`.
"""

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
settings.register_profile("default", deadline=None, max_examples=100)
settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")
pytest_plugins = ["tests.nats_fixture"]

ALONE = {"chaos": "stacks", "e2e": "stacks", "conformance": "conformance"}
"""Directories whose tests stay in one process: whole systems, and one simulator for many tests."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name the process-sharing group of each test: its file, or what its directory shares."""
    here = Path(__file__).parent
    for item in items:
        inside = item.path.relative_to(here)
        group = ALONE.get(inside.parts[0], str(inside))
        item.add_marker(pytest.mark.xdist_group(group))
