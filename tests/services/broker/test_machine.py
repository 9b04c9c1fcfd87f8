"""The broker's core in a world of faults: Hypothesis finds and shrinks what breaks it.

Seeded runs of the whole broker are in tests/sim.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tests.services.broker.world import ACTIONS, World


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
