"""Any bytes on the client's sockets lead to a typed error or a new connection, never further.

A long run is `python -m tests.libs.kalshi.socket_fuzz --seconds 600`.
"""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.libs.kalshi.socket_fuzz import HttpFuzz, SocketFuzz

RANDOM = st.randoms(use_true_random=False)
FEW = settings(max_examples=60, deadline=None)


@FEW
@given(RANDOM)
async def test_any_http_answer_gives_a_value_or_a_typed_error(rng: random.Random) -> None:
    async with HttpFuzz() as fuzz:
        await fuzz.one(rng)


@FEW
@given(RANDOM)
async def test_a_session_gets_over_anything_that_a_server_says(rng: random.Random) -> None:
    async with SocketFuzz() as fuzz:
        await fuzz.one(rng)
