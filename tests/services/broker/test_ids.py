"""Client order ids: the same for the same try, never the same for two (house rule 3)."""

import random

from hypothesis import given
from hypothesis import strategies as st

from services.broker.reports import client_order_id
from tests.services.broker.rig import A, B
from tests.services.broker.world import ACTIONS, World

TRY = st.tuples(
    st.text(min_size=1, max_size=40),
    st.sampled_from([A, B, "X-1", "X"]),
    st.sampled_from(["bid", "ask"]),
    st.integers(0, 50),
)


@given(st.lists(TRY, min_size=2, max_size=40, unique=True))
def test_different_tries_have_different_ids_and_equal_ones_equal(tries):
    ids = [client_order_id(*one) for one in tries]
    assert len(set(ids)) == len(tries)
    assert ids == [client_order_id(*one) for one in tries]


@given(TRY)
def test_an_id_is_one_that_the_exchange_takes(one):
    assert len(client_order_id(*one)) <= 64
    assert client_order_id(*one).isalnum()


def test_no_id_is_sent_twice_over_many_lives_of_brokers():
    """A crash, a standby, a repeated or redelivered verdict: the log says how often was tried."""
    names = [name for name, weight in ACTIONS.items() for _ in range(weight)]
    names += ["crash"] * 5 + ["repeated_verdict"] * 5
    lives = placed = 0
    for seed in range(40):
        dice = random.Random(seed)
        world = World(dice.choice)
        for _ in range(60):
            getattr(world, dice.choice(names))()
        sent = world.rig.exchange.placed_ids
        assert len(sent) == len(set(sent)), f"seed {seed}"
        lives += world.rig.epoch
        placed += len(sent)
    assert lives > 200, "many lives"
    assert placed > 200, "many orders"
