"""Generate the gRPC code from `proto/*.proto`: `python -m tools.make_proto` (`make proto`).

With `--check` nothing is written; the exit code is 1 when the committed files are not what the
contracts give.
"""

import sys
import tempfile
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

ROOT = Path(__file__).resolve().parents[1]


def generate(target: Path) -> list[Path]:
    """Write the generated files below `target` and return them."""
    contracts = sorted((ROOT / "proto").glob("*.proto"))
    arguments = [
        "protoc",
        f"-I{ROOT}",
        f"-I{files('grpc_tools') / '_proto'}",
        f"--python_out={target}",
        f"--pyi_out={target}",
        f"--grpc_python_out={target}",
        *(str(contract) for contract in contracts),
    ]
    if protoc.main(arguments):
        raise SystemExit("protoc: expected contracts that compile, see above")
    return sorted((target / "proto").glob("*_pb2*"))


def main() -> int:
    """Generate, or check; return the exit code."""
    if "--check" not in sys.argv[1:]:
        generate(ROOT)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        made = generate(Path(folder))
        stale = [
            path.name
            for path in made
            if not (known := ROOT / "proto" / path.name).exists()
            or known.read_bytes() != path.read_bytes()
        ]
    if stale:
        print(f"stale: {', '.join(stale)}; run `make proto`")
    return 1 if stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
