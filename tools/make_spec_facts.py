"""Write configs/kalshi-spec.json from the official files: `python -m tools.make_spec_facts DIR`.

DIR holds openapi.yaml and asyncapi.yaml. Run it when the code follows a new version of them.
"""

import json
import sys
from pathlib import Path

from cli.spec_drift import KNOWN, READERS, read_spec


def known_text(directory: Path) -> str:
    """Return the table of both documents, one subject a line."""
    blocks = []
    for document in READERS:
        spec = read_spec(document, directory / f"{document}.yaml")
        lines = [
            f"   {json.dumps(subject)}: {json.dumps(parts, sort_keys=True)}"
            for subject, parts in sorted(spec.facts.items())
        ]
        facts = ",\n".join(lines)
        version = json.dumps(spec.version)
        blocks.append(
            f' "{document}": {{\n  "version": {version},\n  "facts": {{\n{facts}\n  }}\n }}'
        )
    return "{\n" + ",\n".join(blocks) + "\n}\n"


def main() -> int:
    """Write the file; return the exit code."""
    if len(sys.argv) != 2:
        print(__doc__)
        return 2
    KNOWN.write_text(known_text(Path(sys.argv[1])), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
