import pytest

from libs.domain.families import (
    FAMILIES,
    Cadence,
    LadderKind,
    UnknownFamilyError,
    demand_families,
    families_of_symbol,
    family_named,
    family_of_series,
    index_symbols,
)


@pytest.mark.parametrize(
    ("name", "series", "kind", "cadence", "symbol"),
    [
        ("INXU", "KXINXU", LadderKind.NESTED, Cadence.HOURLY, "I:SPX"),
        ("NASDAQ100U", "KXNASDAQ100U", LadderKind.NESTED, Cadence.HOURLY, "I:NDX"),
        ("INX", "KXINX", LadderKind.PARTITION, Cadence.CLOSE, "I:SPX"),
        ("NASDAQ100", "KXNASDAQ100", LadderKind.PARTITION, Cadence.CLOSE, "I:NDX"),
        ("CPI", "KXCPI", LadderKind.NESTED, Cadence.MONTHLY, None),
        ("CPI", "KXCPIYOY", LadderKind.NESTED, Cadence.MONTHLY, None),
        ("CPI", "KXCPICORE", LadderKind.NESTED, Cadence.MONTHLY, None),
        ("CLAIMS", "KXJOBLESSCLAIMS", LadderKind.NESTED, Cadence.WEEKLY, None),
        ("TENY", "KXUST10AD", LadderKind.NESTED, Cadence.DAILY, None),
        ("TENY", "KXUST10A", LadderKind.NESTED, Cadence.DAILY, None),
        ("WEATHER", "KXHIGHNY", LadderKind.PARTITION, Cadence.DAILY, None),
        ("WEATHER", "KXLOWTCHI", LadderKind.PARTITION, Cadence.DAILY, None),
    ],
)
def test_series_and_family_find_each_other(
    name: str, series: str, kind: LadderKind, cadence: Cadence, symbol: str | None
) -> None:
    family = family_of_series(series)
    assert family == family_named(name)
    assert (family.kind, family.cadence, family.index_symbol) == (kind, cadence, symbol)


def test_teny_has_one_alias_in_one_place() -> None:
    assert family_named("TNEY") is family_named("TENY")


def test_a_configuration_names_families_by_their_own_names() -> None:
    demand_families("families", [family.name for family in FAMILIES])
    with pytest.raises(ValueError, match=r"^families: expected the name 'TENY', got its alias"):
        demand_families("families", ["INXU", "TNEY"])
    with pytest.raises(ValueError, match=r"^families: family: expected one of .*'NOVEL'"):
        demand_families("families", ["NOVEL"])


@pytest.mark.parametrize("series", ["", "INXU", "KXCLAIMS", "KXINXMAXY", "KXHIGH", "kxinxu"])
def test_unknown_series_is_an_error(series: str) -> None:
    with pytest.raises(UnknownFamilyError, match=r"no family|series"):
        family_of_series(series)


def test_unknown_name_and_symbol_are_errors() -> None:
    with pytest.raises(UnknownFamilyError):
        family_named("KXINXU")
    with pytest.raises(UnknownFamilyError):
        families_of_symbol("SPX")


def test_symbols_lead_to_both_of_their_families() -> None:
    assert index_symbols() == ("I:SPX", "I:NDX")
    assert [family.name for family in families_of_symbol("I:NDX")] == ["NASDAQ100U", "NASDAQ100"]


def test_no_series_belongs_to_two_families() -> None:
    series = [ticker for family in FAMILIES for ticker in family.series_tickers]
    assert len(series) == len(set(series))


def test_an_unknown_name_is_told_the_names_and_no_alias() -> None:
    with pytest.raises(UnknownFamilyError, match="'TENY'") as refused:
        family_named("NOVEL")
    assert "TNEY" not in str(refused.value)
