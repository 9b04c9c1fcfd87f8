"""The pmf of one event: from fair prices, made to agree with the quotes."""

from operator import add

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from services.risk.sizing.outcomes import NoOutcomes, atoms_of, masses_of, scaled_to
from tests.services.risk.builders import TICKERS, definition
from tests.services.risk.sizing.rig import nested

NESTED = atoms_of(definition())
RANGES = replace(
    definition(),
    kind="partition",
    strike_types=("less", "between", "greater"),
    floors_e4=(None, 52_000_000, 52_249_900),
    caps_e4=(51_999_900, 52_249_900, None),
)


def masses(atoms, probabilities, quoted=None):
    return scaled_to(atoms, masses_of(atoms, probabilities), quoted or {})


def pays(atoms):
    return ~atoms.loses[:, : atoms.rungs]


def test_pmf_of_survival_golden():
    assert masses(NESTED, (0.9, 0.7, 0.4)) == pytest.approx([0.1, 0.2, 0.3, 0.4])


def test_a_nested_atom_pays_every_rung_below_it():
    assert pays(NESTED).tolist() == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
        [True, True, True],
    ]
    assert NESTED.rung_of == {ticker: rung for rung, ticker in enumerate(TICKERS)}
    assert NESTED.strikes == ("5209.9999", "5219.9999", "5229.9999")


def test_a_range_pays_alone_and_there_may_be_none():
    atoms = atoms_of(RANGES)
    assert pays(atoms).tolist() == [
        [True, False, False],
        [False, True, False],
        [False, False, True],
        [False, False, False],
    ]
    assert masses(atoms, (0.2, 0.5, 0.2)) == pytest.approx([0.2, 0.5, 0.2, 0.1])
    assert masses(atoms, (0.2, 0.5, 0.2), {1: 0.6}) == pytest.approx([0.16, 0.6, 0.16, 0.08])


def test_mass_between_quoted_rungs_is_scaled():
    """The middle was .7 and is .6: what lies above keeps its proportions, and so below."""
    found = masses(NESTED, (0.9, 0.7, 0.4), {1: 0.6})
    assert found == pytest.approx([0.4 / 3, 0.8 / 3, 0.6 * 3 / 7, 0.6 * 4 / 7])


def test_mass_that_the_fair_ladder_does_not_see_is_spread_evenly():
    assert masses(NESTED, (1.0, 1.0, 1.0), {1: 0.5}) == pytest.approx([0.25, 0.25, 0.0, 0.5])


curves = st.lists(st.floats(0, 1), min_size=5, max_size=5).map(lambda row: sorted(row)[::-1])


@given(fair=curves, quotes=curves, rungs=st.sets(st.integers(0, 4)))
def test_the_quoted_rungs_have_their_quotes_probability(fair, quotes, rungs):
    atoms = atoms_of(nested(5))
    found = masses(atoms, fair, {rung: quotes[rung] for rung in rungs})
    assert sum(found) == pytest.approx(1.0)
    assert min(found) >= 0.0
    for rung in rungs:
        assert found @ pays(atoms)[:, rung] == pytest.approx(quotes[rung], abs=1e-9)


@given(
    ladder=st.sampled_from([nested(1), nested(4), RANGES, replace(nested(1), kind="partition")]),
    data=st.data(),
)
def test_what_runs_over_outcomes_is_what_the_table_says(ladder, data):
    """Sums and worst cases where a quote loses, and what amounts lose, taken from the table."""
    atoms = atoms_of(ladder)
    columns = 2 * atoms.rungs
    amounts = st.integers(-(10**12), 10**12)
    values = data.draw(st.lists(amounts, min_size=atoms.rungs + 1, max_size=atoms.rungs + 1))
    where = [[one for one, lost in zip(values, row, strict=True) if lost] for row in atoms.loses.T]
    assert atoms.where_lost(values, add) == [sum(one) for one in where]
    assert atoms.where_lost(values, max) == [max(one) for one in where]
    taken = data.draw(st.lists(st.tuples(st.integers(0, columns - 1), amounts), max_size=5))
    assert atoms.lost(taken, 7) == [
        7 + sum(amount for column, amount in taken if row[column]) for row in atoms.loses
    ]
    for column, ends in enumerate(atoms.ends):
        for atom in range(atoms.rungs + 1):
            lost = bool(atoms.loses[atom, column])
            assert [atom in end for end in ends] == [
                lost and atom in atoms.low,
                lost and atom in atoms.high,
            ]


@pytest.mark.parametrize(
    ("probabilities", "quoted"),
    [
        ((0.4, 0.5, 0.1), {}),
        ((0.9, 0.5), {}),
        ((0.9, float("nan"), 0.1), {}),
        ((0.9, 0.5, 0.1), {0: 0.3, 1: 0.4}),
        ((0.9, 0.5, 0.1), {0: float("nan")}),
    ],
)
def test_what_contradicts_itself_is_no_pmf(probabilities, quoted):
    with pytest.raises(NoOutcomes):
        masses(NESTED, probabilities, quoted)


def test_ranges_that_add_up_to_more_than_all_are_no_pmf():
    atoms = atoms_of(RANGES)
    with pytest.raises(NoOutcomes):
        masses(atoms, (0.5, 0.5, 0.2))
    with pytest.raises(NoOutcomes):
        masses(atoms, (0.2, 0.5, 0.2), {0: 0.6, 1: 0.5})
    with pytest.raises(NoOutcomes):
        masses(atoms, (0.2, 0.5, 0.2), {0: float("nan")})


@pytest.mark.parametrize(
    "ladder",
    [
        replace(definition(), kind="chain"),
        replace(definition(), strike_types=("greater", "less", "greater")),
    ],
)
def test_a_ladder_of_an_unknown_shape_has_no_atoms(ladder):
    with pytest.raises(NoOutcomes):
        atoms_of(ladder)
