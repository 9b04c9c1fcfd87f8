"""Every alert that the broker can raise is explained in docs/runbook.md."""

import ast
from pathlib import Path

from services.broker.compare import KINDS

ROOT = Path(__file__).resolve().parents[3]
CALLS = ("place", "amend", "cancel")


def raised() -> set[str]:
    """Return the kinds that stand in the calls of `alert` and `differ`; patterns as they are."""
    found: set[str] = set()
    for path in (ROOT / "services" / "broker").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            place = {"alert": 0, "differ": 1}.get(node.func.attr)
            if place is not None and len(node.args) > place:
                found.add(ast.unparse(node.args[place]).strip("'"))
    return found


def test_every_alert_is_explained() -> None:
    kinds = raised()
    assert {"kill_switch", "foreign_order", "unknown_order"} <= kinds
    patterns = {one for one in kinds if not one.isidentifier()}
    assert patterns == {"f'{kind}_differs", "f'{event.call}_refused"}
    kinds -= patterns | {"alert"}  # desk.differ hands its own argument on
    kinds |= {f"{kind}_differs" for kind in KINDS} | {f"{call}_refused" for call in CALLS}
    text = (ROOT / "docs" / "runbook.md").read_text()
    assert [kind for kind in sorted(kinds) if f"`{kind}`" not in text] == []
