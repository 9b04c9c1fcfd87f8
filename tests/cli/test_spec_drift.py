"""What drifts is found, named, and laid at the door of who uses it."""

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from cli.spec_drift import KNOWN, describe, drift_of, run
from cli.spec_facts import asyncapi_spec, compare, openapi_spec
from libs.common.config import ConfigError
from tests.shared_data import shared_file
from tools.make_spec_facts import known_text

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
Json = dict[str, Any]

SMALL: Json = {
    "info": {"version": "1.0"},
    "paths": {
        "/markets/{ticker}": {
            "get": {
                "operationId": "GetMarket",
                "parameters": [{"$ref": "#/components/parameters/Ticker"}],
                "responses": {
                    "200": {
                        "content": {
                            "application/json": {"schema": {"$ref": "#/components/schemas/Market"}}
                        }
                    }
                },
            }
        }
    },
    "components": {
        "parameters": {
            "Ticker": {
                "name": "ticker",
                "in": "path",
                "required": True,
                "schema": {"type": "string"},
            }
        },
        "schemas": {
            "Market": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": {"type": "string", "enum": ["active", "closed"]},
                    "ranges": {
                        "type": "array",
                        "items": {"type": "object", "properties": {"step": {"type": "string"}}},
                    },
                    "legs": {"allOf": [{"$ref": "#/components/schemas/Leg"}], "nullable": True},
                },
            },
            "Leg": {"type": "string"},
        },
    },
}


def test_the_facts_of_a_small_document() -> None:
    facts = openapi_spec(SMALL).facts
    assert facts["operation GetMarket"] == {
        "call": "GET /markets/{ticker}",
        "key": "not needed",
        "path parameter ticker": "required string",
        "answer 200": "Market",
    }
    market = facts["schema Market"]
    assert market["status"].startswith("required string {")
    assert (market["ranges"], market["ranges[].step"]) == ("array of object", "string")
    assert market["legs"] == "or null allOf(Leg)"


def changed(change: Callable[[Json], object]) -> list[str]:
    document = copy.deepcopy(SMALL)
    change(document)
    return [describe(each) for each in compare(openapi_spec(SMALL), openapi_spec(document))]


def properties(document: Json) -> Json:
    found: Json = document["components"]["schemas"]["Market"]["properties"]
    return found


def test_words_for_each_kind_of_change() -> None:
    get = ("paths", "/markets/{ticker}", "get")

    def operation(document: Json) -> Json:
        return document[get[0]][get[1]][get[2]]  # type: ignore[no-any-return]

    one = {"name": "depth", "in": "query", "required": True, "schema": {"type": "integer"}}
    cases: list[tuple[Callable[[Json], object], list[str]]] = [
        (lambda d: d.update(tags=["words"]), []),
        (lambda d: properties(d)["status"].update(description="words"), []),
        (lambda d: properties(d)["status"]["enum"].reverse(), []),
        (
            lambda d: properties(d)["status"]["enum"].append("paused"),
            ["Market status: new values paused"],
        ),
        (
            lambda d: properties(d)["status"]["enum"].pop(),
            ["Market status: 1 values gone"],
        ),
        (
            lambda d: properties(d).pop("legs"),
            ["Market legs: removed, was or null allOf(Leg)"],
        ),
        (
            lambda d: d["components"]["schemas"]["Market"]["required"].append("legs"),
            ["Market legs: was or null allOf(Leg), is required or null allOf(Leg)"],
        ),
        (
            lambda d: operation(d)["parameters"].append(one),
            ["operation GetMarket query parameter depth: added, required integer"],
        ),
        (
            lambda d: operation(d)["responses"].update({"418": {}}),
            ["operation GetMarket answer 418: added, anything"],
        ),
        (
            lambda d: operation(d).update(security=[{"key": []}]),
            ["operation GetMarket key: was not needed, is needed"],
        ),
        (lambda d: d["paths"].clear(), ["operation GetMarket: removed"]),
        (
            lambda d: d["components"]["schemas"].update(New={"type": "string"}),
            ["schema New: added"],
        ),
    ]
    for change, words in cases:
        assert changed(change) == words


@pytest.fixture(scope="module")
def official() -> dict[str, Json]:
    return {
        name: yaml.load(shared_file(f"kalshi/{name}.yaml").read_text(), Loader=_LOADER)
        for name in ("openapi", "asyncapi")
    }


def test_the_table_is_made_from_the_official_files() -> None:
    directory = shared_file("kalshi/openapi.yaml").parent
    assert known_text(directory) == KNOWN.read_text(encoding="utf-8")


def drifted(official: dict[str, Json], name: str, change: Callable[[Json], object]) -> list[Json]:
    document = copy.deepcopy(official[name])
    change(document)
    reader = {"openapi": openapi_spec, "asyncapi": asyncapi_spec}[name]
    drift = drift_of(name, reader(document))
    assert drift.is_there
    return [{"words": describe(one), "used": list(users)} for one, users in drift.changes]


def schema(document: Json, name: str) -> Json:
    found: Json = document["components"]["schemas"][name]
    return found


def test_who_uses_what_changed(official: dict[str, Json]) -> None:
    both = ["client", "simulator"]
    query = {"name": "why", "in": "query", "required": True, "schema": {"type": "string"}}
    cases: list[tuple[str, Callable[[Json], object], str, list[str]]] = [
        (
            "openapi",
            lambda d: schema(d, "Market")["properties"].pop("yes_bid_dollars"),
            "Market yes_bid_dollars: removed, was required FixedPointDollars",
            both,
        ),
        (
            "openapi",
            lambda d: schema(d, "Market")["properties"].pop("previous_price_dollars"),
            "Market previous_price_dollars: removed, was required FixedPointDollars",
            ["simulator"],
        ),
        (
            "openapi",
            lambda d: schema(d, "OrderStatus")["enum"].append("asleep"),
            "schema OrderStatus: new values asleep",
            both,
        ),
        (
            "openapi",
            lambda d: d["paths"]["/portfolio/balance"]["get"]["parameters"].append(query),
            "operation GetBalance query parameter why: added, required string",
            both,
        ),
        (
            "openapi",
            lambda d: schema(d, "CreateOrderV2Request")["required"].append("post_only"),
            "CreateOrderV2Request post_only: was boolean, is required boolean",
            both,
        ),
        (
            "openapi",
            lambda d: d["paths"].pop("/communications/id"),
            "operation GetCommunicationsID: removed",
            [],
        ),
        (
            "openapi",
            lambda d: schema(d, "ApiKey")["properties"].pop("name"),
            "ApiKey name: removed, was required string",
            [],
        ),
        (
            "asyncapi",
            lambda d: schema(d, "tickerPayload")["properties"]["msg"]["properties"].pop(
                "yes_bid_dollars"
            ),
            "tickerPayload msg.yes_bid_dollars: removed, was required string",
            both,
        ),
        (
            "asyncapi",
            lambda d: d["channels"].update(weather={"address": "weather", "messages": {}}),
            "channel weather: added",
            [],
        ),
        (
            "asyncapi",
            lambda d: d["x-error-codes"]["codes"].append({"code": 99, "name": "Too late"}),
            "error codes 99: added",
            both,
        ),
    ]
    for name, change, words, used in cases:
        [found] = drifted(official, name, change)
        assert found["words"].startswith(words)
        assert found["used"] == used, words


def test_a_new_version_alone_is_drift(official: dict[str, Json]) -> None:
    assert drifted(official, "openapi", lambda d: d["info"].update(version="9.9")) == []


def alpha(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("alpha")), "spec-drift", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_command(official: dict[str, Json], tmp_path: Path) -> None:
    files = {name: shared_file(f"kalshi/{name}.yaml") for name in official}
    same = alpha("--openapi", str(files["openapi"]), "--asyncapi", str(files["asyncapi"]))
    assert (same.returncode, same.stderr) == (0, "")
    assert same.stdout.splitlines() == [
        "openapi 3.34.0: 0 changes, 0 we use",
        "asyncapi 2.0.0: 0 changes, 0 we use",
    ]
    document = copy.deepcopy(official["openapi"])
    del schema(document, "Market")["properties"]["yes_bid_dollars"]
    document["info"]["version"] = "3.35.0"
    other = tmp_path / "openapi.json"
    other.write_text(json.dumps(document))
    differs = alpha("--openapi", str(other), "--json")
    assert (differs.returncode, differs.stderr) == (1, "")
    shown = json.loads(differs.stdout)
    assert shown["drift"] is True
    [found] = shown["documents"]
    assert (found["known"], found["given"]) == ("3.34.0", "3.35.0")
    [change] = found["changes"]
    assert (change["subject"], change["part"]) == ("schema Market", "yes_bid_dollars")
    assert change["used_by"] == ["client", "simulator"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "readable file"),
        ("a: [", "expected YAML or JSON"),
        ("\x00\x01", "expected YAML or JSON"),
        ("- 1", "expected a mapping"),
        ("{}", "paths: expected a mapping"),
        ("info: 7\npaths: {}", "info: expected a mapping"),
        ("info: {}\npaths: {/a: {get: []}}", "GET /a: expected a mapping"),
        ("info: {}\npaths: {}\ncomponents: {schemas: {A: &a {items: *a}}}", "levels of fields"),
        ("info: {}\npaths: {}\ncomponents: {schemas: {A: &a {allOf: [*a, *a, *a]}}}", "expected"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, text: str | None, said: str) -> None:
    file = tmp_path / "openapi.yaml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        run({"openapi": file, "asyncapi": None}, as_json=False)
    assert "\n" not in str(refused.value)


def test_no_file_and_a_folder_are_wrong_arguments(tmp_path: Path) -> None:
    for words in ((), ("--openapi", str(tmp_path))):
        refused = alpha(*words)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.count("\n") == 1
