"""Run the benchmarks, each as a process of its own: `python -m tests.bench [NAME ...]`.

Every `bench_<name>.py` here prints JSON and writes it with `--json OUT`; they go to
`bench-results/`. Nothing here passes or fails: figures are for people, and noise is large.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
RESULTS = ROOT / "bench-results"


def main() -> int:
    """Run the chosen benchmarks; return 1 if one of them broke."""
    known = {path.stem.removeprefix("bench_"): path for path in sorted(HERE.glob("bench_*.py"))}
    parser = argparse.ArgumentParser(prog="make bench", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(known)}")
    names = parser.parse_args().names or list(known)
    if unknown := set(names) - set(known):
        parser.error(f"expected some of {', '.join(known)}, given {', '.join(sorted(unknown))}")
    RESULTS.mkdir(exist_ok=True)
    broken = []
    for name in names:
        sys.stderr.write(f"bench {name} …\n")
        began = time.monotonic()
        arguments = [sys.executable, str(known[name]), "--json", str(RESULTS / f"{name}.json")]
        if subprocess.run(arguments, cwd=ROOT, check=False).returncode:
            broken.append(name)
        sys.stderr.write(f"bench {name}: {time.monotonic() - began:.0f} s\n")
    if broken:
        sys.stderr.write(f"broken: {', '.join(broken)}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    raise SystemExit(main())
