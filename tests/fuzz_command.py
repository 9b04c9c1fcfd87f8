"""The command line of the long fuzz runs by hand: so many seconds from a seed, counts as JSON."""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any


def fuzz(text: str | None, run: Callable[[float, int], Awaitable[dict[str, Any]]]) -> int:
    """Run for a while and print JSON; the first line of `text` describes the command."""
    parser = argparse.ArgumentParser(description=(text or "").split("\n")[0])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()

    async def work() -> dict[str, Any]:
        return await run(options.seconds, options.seed)

    sys.stdout.write(json.dumps(asyncio.run(work()), indent=1) + "\n")
    return 0
