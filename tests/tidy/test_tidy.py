"""The house style, as tests over the source itself."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINES_MAX = 600
FUNCTION_LINES_MAX = 70
SERVICES = ("feeds", "pricer", "risk", "broker", "monitors", "reporting")
IMPURE = {
    "asyncio",
    "datetime",
    "grpc",
    "httpx",
    "logging",
    "nats",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "structlog",
    "subprocess",
    "threading",
    "time",
    "uuid",
    "websockets",
}
SUBJECT = re.compile(
    r"""["'](ticks|ladders|proposals|verdicts|orders|fills|status|dead)\.[a-z*>{]"""
)


def tracked(suffix: str = "") -> list[Path]:
    """Return the files of the repository, generated ones left out."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    return [
        ROOT / name
        for name in listed
        if name.endswith(suffix) and "_pb2" not in name and (ROOT / name).is_file()
    ]


def trees(*tops: str) -> Iterator[tuple[Path, ast.Module]]:
    """Yield the parsed Python files below these folders."""
    for path in tracked(".py"):
        if path.relative_to(ROOT).parts[0] in tops:
            yield path, ast.parse(path.read_text(encoding="utf-8"))


def imports(tree: ast.Module) -> set[str]:
    """Return the dotted names that a module imports, type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def where(path: Path) -> str:
    """Return a path as the repository names it."""
    return str(path.relative_to(ROOT))


def core_modules(service: str) -> dict[str, ast.Module]:
    """Return a service's core module and all modules of the service that it imports."""
    folder = ROOT / "services" / service
    found: dict[str, ast.Module] = {}
    waiting = [f"services.{service}.core"]
    while waiting:
        name = waiting.pop()
        path = ROOT / (name.replace(".", "/") + ".py")
        if not path.exists():
            path = ROOT / name.replace(".", "/") / "__init__.py"
        if name in found or not path.exists() or not path.is_relative_to(folder):
            continue
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
        waiting += [item for item in imports(found[name]) if item.startswith(f"services.{service}")]
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_cores_are_pure(service: str) -> None:
    modules = core_modules(service)
    assert modules, f"services/{service}/core.py is missing"
    impure = {
        f"{name} imports {item}"
        for name, tree in modules.items()
        for item in imports(tree)
        if item.split(".")[0] in IMPURE
    }
    assert not impure


def test_domain_has_no_io() -> None:
    impure = {
        f"{where(path)} imports {item}"
        for path, tree in trees("libs")
        if "domain" in path.parts
        for item in imports(tree)
        if item.split(".")[0] in IMPURE - {"datetime"}
    }
    assert not impure


@pytest.mark.parametrize("service", SERVICES)
def test_services_have_the_same_rooms(service: str) -> None:
    folder = ROOT / "services" / service
    rooms = {"core.py", "app.py", "config.py", "__main__.py"}
    assert {path.name for path in folder.iterdir()} >= rooms


def test_files_and_functions_fit() -> None:
    long_files = [
        where(path)
        for path in tracked(".py")
        if len(path.read_text(encoding="utf-8").splitlines()) > LINES_MAX
    ]
    long_functions = [
        f"{where(path)}:{node.lineno} {node.name}"
        for path, tree in trees("libs", "services", "lab", "cli", "tools")
        for node in ast.walk(tree)
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        and (node.end_lineno or 0) - node.lineno + 1 > FUNCTION_LINES_MAX
    ]
    assert not long_files
    assert not long_functions


def test_subjects_live_in_the_topology() -> None:
    strays = [
        f"{where(path)}: {line.strip()}"
        for path in tracked(".py")
        if path.relative_to(ROOT).parts[0] in ("libs", "services", "lab", "cli")
        and path.name != "topology.py"
        for line in path.read_text(encoding="utf-8").splitlines()
        if SUBJECT.search(line)
    ]
    assert not strays


def test_metrics_live_in_one_file() -> None:
    strays = [
        where(path)
        for path, tree in trees("libs", "services", "lab", "cli")
        if any(item.startswith("prometheus_client") for item in imports(tree))
        and path != ROOT / "libs/common/metrics.py"
    ]
    assert not strays


def test_money_is_never_a_float() -> None:
    units = ("_e2", "_e4", "_e6", "_ns")
    floats = [
        f"{where(path)}: {node.target.id}"
        for path, tree in trees("libs", "services", "lab")
        for node in ast.walk(tree)
        if isinstance(node, ast.AnnAssign)
        and isinstance(node.target, ast.Name)
        and node.target.id.endswith(units)
        and isinstance(node.annotation, ast.Name)
        and node.annotation.id == "float"
    ]
    assert not floats


def test_nothing_of_this_machine_is_tracked() -> None:
    machine = re.compile(r"/(?:work|farm)/|/root/|(?:pypi|pythonhosted|npmjs)\.[a-z]{3}")
    key = re.compile(r"BEGIN ([A-Z]+ )?PRIVATE " + "KEY-----\n")
    strays = []
    for path in tracked():
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if path != Path(__file__) and (machine.search(text) or key.search(text)):
            strays.append(where(path))
    assert not strays


def test_no_lock_file_names_its_registry() -> None:
    assert not [where(path) for path in tracked(".lock")]


def test_every_module_says_what_it_is() -> None:
    silent = [
        where(path)
        for path, tree in trees("libs", "services", "lab", "cli", "tools")
        if tree.body and ast.get_docstring(tree) is None
    ]
    assert not silent


def test_no_unfinished_code() -> None:
    mark = re.compile("TO" + "DO|FIX" + "ME|NotImplemented" + "Error|type: ig" + r"nore(?!\[)")
    marked = [
        f"{where(path)}: {line.strip()}"
        for path in tracked(".py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if mark.search(line)
    ]
    assert not marked
