"""Every call against the official document: path, query, body, and the answers it may get.

Answers are built from the document's own schemas: whatever the exchange may leave out, add or
say null of is read.
"""

import inspect
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest

from libs.common.clock import SystemClock
from libs.kalshi import endpoints
from libs.kalshi.endpoints import Endpoint
from libs.kalshi.rest import KalshiClient
from libs.kalshi.transport import Answer
from tests.lab.exchange.schemas import check_pointer, openapi
from tests.libs.kalshi.client_calls import CALLS, Call, PlainSigner
from tests.libs.kalshi.spec_samples import MODES, resolved, sample

PREFIX = "/trade-api/v2"
NAMES = {
    "order_id": "o",
    "order_group_id": "g",
    "ticker": "T",
    "event_ticker": "E",
    "series_ticker": "S",
}
ALL_ENDPOINTS = {
    name: value for name, value in vars(endpoints).items() if isinstance(value, Endpoint)
}


def operation_of(method: str, path: str) -> tuple[str, dict[str, Any]]:
    """Return the document's own path and operation; fixed paths win over named ones."""
    paths = openapi()["paths"]
    for template in sorted(paths, key=lambda one: one.count("{")):
        pattern = re.sub(r"\{\w+\}", "[^/]+", template)
        if re.fullmatch(pattern, path) and method.lower() in paths[template]:
            return template, paths[template][method.lower()]
    raise AssertionError(f"{method} {path} is not in the official document")


class Document:
    """A transport that checks requests by the document and answers as it declares."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.requests: list[tuple[str, str]] = []

    async def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None
    ) -> Answer:
        parts = urlsplit(url)
        template, operation = operation_of(method, parts.path.removeprefix(PREFIX))
        self.requests.append((method, template))
        self._check_query(template, operation, parse_qsl(parts.query, keep_blank_values=True))
        if body is not None:
            value = msgspec.json.decode(body)
            escaped = template.replace("~", "~0").replace("/", "~1")
            pointer = f"/paths/{escaped}/{method.lower()}/requestBody/content/application~1json"
            check_pointer("openapi", f"{pointer}/schema", value)
            declared = resolved(
                openapi(), operation["requestBody"]["content"]["application/json"]["schema"]
            ).get("properties", {})
            assert set(value) <= set(declared), f"{template}: fields that nobody declares"
        assert ("requestBody" in operation) or body is None, f"{template} takes no body"
        return self._answer(operation, body)

    @staticmethod
    def _check_query(
        template: str, operation: dict[str, Any], query: list[tuple[str, str]]
    ) -> None:
        declared = [resolved(openapi(), one) for one in operation.get("parameters", [])]
        named = {one["name"]: one for one in declared if one["in"] == "query"}
        assert {name for name, _ in query} <= set(named), f"{template}: {query}"
        assert {name for name, one in named.items() if one.get("required")} <= dict(query).keys()
        for name, text in query:
            schema = resolved(openapi(), named[name]["schema"])
            if schema.get("type") == "integer":
                assert schema.get("minimum", 0) <= int(text) <= schema.get("maximum", 2**63)
            elif schema.get("type") == "boolean":
                assert text in ("true", "false")
            elif "enum" in schema:
                assert text in schema["enum"]

    def _answer(self, operation: dict[str, Any], body: bytes | None) -> Answer:
        status, response = next(
            (int(code), one) for code, one in operation["responses"].items() if code[0] == "2"
        )
        if "content" not in response:
            return Answer(status, b"")
        schema = response["content"]["application/json"]["schema"]
        value = sample(openapi(), schema, self.mode)
        if isinstance(value.get("orders"), list) and body is not None:
            for one in value["orders"]:
                one.pop("error", None)  # the batch went well; refusals are tested elsewhere
        _name_the_order(value, body)
        return Answer(status, msgspec.json.encode(value))

    async def close(self) -> None:
        pass


def _name_the_order(value: dict[str, Any], body: bytes | None) -> None:
    """Answer for the client order id that was asked about, as the exchange does."""
    if not body:
        return
    asked = msgspec.json.decode(body)
    items = zip(asked.get("orders", ()), value.get("orders", ()), strict=True)
    for request, answer in ((asked, value), *items):
        if "client_order_id" in answer:
            answer["client_order_id"] = request.get(
                "updated_client_order_id", request.get("client_order_id")
            )


CASES = [(name, mode) for name in CALLS for mode in MODES]
CASES.remove(("event", "required"))  # without its markets an event is refused (test_rest.py)


@pytest.mark.parametrize(("name", "mode"), CASES)
async def test_a_call_is_the_documents(name: str, mode: str) -> None:
    document = Document(mode)
    client = KalshiClient(f"http://h{PREFIX}", document, SystemClock(), PlainSigner())
    call: Call = CALLS[name]
    await call(client)
    assert document.requests


def test_the_table_of_calls_is_whole() -> None:
    public = {
        name
        for name, value in inspect.getmembers(KalshiClient, inspect.iscoroutinefunction)
        if not name.startswith("_")
    }
    assert {name.partition(",")[0] for name in CALLS} == public - {"close"}


@pytest.mark.parametrize("name", ALL_ENDPOINTS)
async def test_an_endpoint_is_declared_and_needs_a_key_if_the_document_says_so(name: str) -> None:
    endpoint = ALL_ENDPOINTS[name]
    path = endpoint.template.format_map(NAMES)
    template, operation = operation_of(endpoint.method, path)
    assert template.count("{") == endpoint.template.count("{")
    assert endpoint.needs_key == bool(operation.get("security"))


async def test_every_endpoint_is_used() -> None:
    document = Document("whole")
    client = KalshiClient(f"http://h{PREFIX}", document, SystemClock(), PlainSigner())
    for call in CALLS.values():
        await call(client)
    used = {(method, re.sub(r"\{\w+\}", "{}", path)) for method, path in document.requests}
    declared = {
        (one.method, re.sub(r"\{\w+\}", "{}", one.template)) for one in ALL_ENDPOINTS.values()
    }
    assert used == declared
