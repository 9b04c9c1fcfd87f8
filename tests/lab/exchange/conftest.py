from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.lab.exchange.harness import Exchange, running_exchange


@pytest.fixture
async def exchange(tmp_path: Path) -> AsyncIterator[Exchange]:
    async with running_exchange(tmp_path) as running:
        yield running
