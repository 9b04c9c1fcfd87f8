"""The command line that all benchmarks share: `--json OUT` beside their own options."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def parser_of(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with `--json`, described by the first line of a module's docstring."""
    parser = argparse.ArgumentParser(description=(text or "").split("\n")[0])
    parser.add_argument("--json", type=Path, metavar="OUT")
    return parser


def show(name: str, found: dict[str, Any], out: Path | None) -> int:
    """Print what was found, write it where asked, return the exit code."""
    text = json.dumps({"bench": name, **found}, indent=1) + "\n"
    sys.stdout.write(text)
    if out is not None:
        out.write_text(text, encoding="utf-8")
    return 0
