"""Instances of the official documents' schemas, with text as the exchange writes it (§2.1)."""

from typing import Any

MODES = ("required", "whole", "null")
"""With what must be there, with all that may be, and with null wherever it may stand."""

_TEXTS = {
    "order_id": "o",
    "cursor": "",
    "start": "0.0000",
    "end": "1.0000",
    "step": "0.0100",
    "fee_cost": "0.017472",
    "price": "0.4700",
    "count": "12.50",
}


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """Follow a schema's references inside its document."""
    while "$ref" in schema:
        node: Any = document
        for part in schema["$ref"].removeprefix("#/").split("/"):
            node = node[part.replace("~1", "/").replace("~0", "~")]
        schema = node
    return schema


def sample(document: dict[str, Any], schema: dict[str, Any], mode: str, name: str = "") -> Any:
    """Return an instance of a schema in one of the MODES."""
    reference = schema.get("$ref", "")
    schema = resolved(document, schema)
    for many in ("allOf", "anyOf", "oneOf"):
        if many in schema:
            takes_null = mode == "null" and {"type": "null"} in schema[many]
            return None if takes_null else sample(document, schema[many][0], mode, name)
    if "const" in schema:
        return schema["const"]
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        kind = "null" if mode == "null" and "null" in kind else kind[0]
    if "enum" in schema and kind != "null":
        return schema["enum"][0]
    if kind == "object":
        required = schema.get("required", [])
        return {
            key: sample(document, inner, mode, key)
            for key, inner in schema.get("properties", {}).items()
            if mode != "required" or key in required
        }
    if kind == "array":
        return _array(document, schema, mode, name)
    if kind == "string":
        return _text(reference, schema, name)
    return {"integer": 1_791_000_000, "number": 7869.9999, "boolean": True, "null": None}[kind]


def _array(document: dict[str, Any], schema: dict[str, Any], mode: str, name: str) -> list[Any]:
    if schema.get("minItems") == schema.get("maxItems") == 2:
        return ["0.4700", "12.50"]  # a level of a book
    return [sample(document, schema["items"], mode, name)] * schema.get("minItems", 1)


def _text(reference: str, schema: dict[str, Any], name: str) -> str:
    if name in _TEXTS:
        return _TEXTS[name]
    if reference.endswith("FixedPointDollars") or name.endswith("_dollars"):
        return "0.4700"
    if reference.endswith("FixedPointCount") or name.endswith("_fp"):
        return "12.50"
    if schema.get("format") == "date-time":
        return "2026-10-02T15:00:00.06683Z"
    if schema.get("format") == "uuid":
        return "f5ed38e2-0991-4c8f-817e-08c4fd9cbfdb"
    return "text"
