"""The broker's core in a world of faults: a Hypothesis machine, and many seeded runs."""

import random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.services.broker.world import ACTIONS, World

SEEDS = 90
STEPS = 80


class BrokerMachine(RuleBasedStateMachine):
    """One rule for each action; Hypothesis finds and shrinks the sequence that breaks."""

    world = None

    @initialize(expires=st.booleans())
    def begin(self, expires):
        self.world = World(choose=None, expires=expires)

    @invariant()
    def all_holds(self):
        if self.world is not None:
            self.world.check()

    def teardown(self):
        if self.world is not None:
            self.world.heal()


def _rule(name):
    def act(self, data):
        self.world.choose = lambda options: data.draw(st.sampled_from(options))
        getattr(self.world, name)()

    act.__name__ = name
    return rule(data=st.data())(act)


for _name in ACTIONS:
    setattr(BrokerMachine, _name, _rule(_name))

TestBroker = BrokerMachine.TestCase
TestBroker.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("first", range(0, SEEDS, 30))
def test_seeded_runs(first):
    names, weights = list(ACTIONS), list(ACTIONS.values())
    for seed in range(first, first + 30):
        dice = random.Random(seed)
        world = World(dice.choice, expires=seed % 3 != 0)
        steps = []
        try:
            for _ in range(STEPS):
                steps += dice.choices(names, weights)
                getattr(world, steps[-1])()
                world.check()
            world.heal()
        except BaseException as error:
            error.add_note(f"seed {seed}, after {len(steps)} steps: {steps[-6:]}")
            raise
