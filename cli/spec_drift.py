"""`alpha spec-drift`: what changed between the specifications that we know and given ones."""

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import yaml
from msgspec import Struct

from cli.processes import ROOT
from cli.spec_facts import Change, Facts, Spec, SpecError, asyncapi_spec, compare, openapi_spec
from cli.spec_usage import Usage
from libs.common.config import ConfigError

KNOWN = ROOT / "configs" / "kalshi-spec.json"
FILE_BYTES_MAX = 20_000_000
READERS: dict[str, Callable[[object], Spec]] = {
    "openapi": openapi_spec,
    "asyncapi": asyncapi_spec,
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KnownSpec(Struct, frozen=True, forbid_unknown_fields=True):
    """What configs/kalshi-spec.json holds of one document."""

    version: str
    facts: Facts


class Drift(Struct, frozen=True, kw_only=True):
    """The differences of one document, each with who of us uses it."""

    document: str
    known: str
    given: str
    changes: tuple[tuple[Change, tuple[str, ...]], ...]

    @property
    def is_there(self) -> bool:
        """Say whether anything differs."""
        return bool(self.changes) or self.known != self.given


def known_specs() -> dict[str, KnownSpec]:
    """Return the facts that the code was written for, by document."""
    return msgspec.json.decode(KNOWN.read_bytes(), type=dict[str, KnownSpec])


def read_spec(document: str, path: Path) -> Spec:
    """Return the facts of a file. Raises ConfigError with one line."""
    option = f"--{document} {path}"
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ConfigError(f"{option}: expected at most {FILE_BYTES_MAX} bytes")
        loaded = yaml.load(path.read_bytes(), Loader=_LOADER)  # noqa: S506  a safe loader
        return READERS[document](loaded)
    except OSError as error:
        raise ConfigError(f"{option}: expected a readable file, {error.strerror}") from None
    except yaml.YAMLError as error:
        where = " ".join(str(error).split())[:200]
        raise ConfigError(f"{option}: expected YAML or JSON, {where}") from None
    except (SpecError, ValueError, RecursionError) as error:
        raise ConfigError(f"{option}: {' '.join(str(error).split())[:300]}") from None


def drift_of(document: str, given: Spec) -> Drift:
    """Return how a document differs from the one that we know."""
    known = known_specs()[document]
    usage = Usage(known.facts, given.facts)
    changes = compare(Spec(version=known.version, facts=known.facts), given)
    used = sorted(
        ((change, usage.of(change)) for change in changes),
        key=lambda pair: (not pair[1], pair[0].subject, pair[0].part),
    )
    return Drift(document=document, known=known.version, given=given.version, changes=tuple(used))


def run(files: dict[str, Path | None], *, as_json: bool) -> int:
    """Print the drift of the given files; return 0 for none, 1 for some. Raises ConfigError."""
    given = {document: path for document, path in files.items() if path is not None}
    if not given:
        raise ConfigError("spec-drift: expected --openapi FILE, --asyncapi FILE or both")
    drifts = [drift_of(document, read_spec(document, path)) for document, path in given.items()]
    print(json.dumps(_as_json(drifts), indent=1) if as_json else "\n".join(_lines(drifts)))
    return int(any(drift.is_there for drift in drifts))


def _lines(drifts: list[Drift]) -> list[str]:
    lines = []
    for drift in drifts:
        version = drift.known if drift.known == drift.given else f"{drift.known} -> {drift.given}"
        used = sum(bool(users) for _, users in drift.changes)
        lines.append(f"{drift.document} {version}: {len(drift.changes)} changes, {used} we use")
        lines += [
            f"  {'used by ' + ', '.join(users) if users else 'not used':27}  {describe(change)}"
            for change, users in drift.changes
        ]
    return lines


def describe(change: Change) -> str:
    """Return a change in words."""
    subject = change.subject
    if subject.startswith("schema ") and change.part:
        subject = subject.removeprefix("schema ")
    where = f"{subject} {change.part}".strip()
    if change.before is None:
        return f"{where}: added" + (f", {change.after}" if change.after else "")
    if change.after is None:
        return f"{where}: removed" + (f", was {change.before}" if change.before else "")
    words = [f"new values {', '.join(change.new_values)}"] if change.new_values else []
    words += [f"{change.gone_values} values gone"] if change.gone_values else []
    if not words:
        words = [f"was {change.before}, is {change.after}"]
    elif ("required " in change.before) != ("required " in change.after):
        words.append("required" if "required " in change.after else "no longer required")
    return f"{where}: {'; '.join(words)}"


def _as_json(drifts: list[Drift]) -> dict[str, object]:
    return {
        "drift": any(drift.is_there for drift in drifts),
        "documents": [
            {
                "document": drift.document,
                "known": drift.known,
                "given": drift.given,
                "changes": [
                    {
                        **msgspec.to_builtins(change),
                        "used_by": list(users),
                        "words": describe(change),
                    }
                    for change, users in drift.changes
                ],
            }
            for drift in drifts
        ],
    }
