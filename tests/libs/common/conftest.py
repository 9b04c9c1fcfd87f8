"""A runner for its tests."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.libs.common.runner_rig import Rig


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    if rig.runner is not None and rig.task is not None:
        rig.runner.stop()
        await asyncio.gather(rig.task, return_exceptions=True)
