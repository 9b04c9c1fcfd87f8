"""Structured logs: JSON lines with the run's clock, secrets masked."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from libs.common.clock import Clock

Logger = structlog.typing.FilteringBoundLogger
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_SECRET_NAME = re.compile(
    r"(password|passwd|secret|token|signature|authorization|api_?key|access[-_]key|private|pem)",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"(?P<pem>-----BEGIN[^-]*PRIVATE KEY-----.*?(?:-----END[^-]*-----|$))"
    r"|(?P<lead>(?:"
    r"(?:password|passwd|secret|token|signature|authorization|api_?key|access[-_]key)"
    r"(?![\w-]{0,40}_file)[\w-]{0,40}[\"']?\s*[:=]\s*[\"']?(?:bearer\s+)?"
    r"|bearer\s+(?=[^\s\"',}]{8})"
    r"|\"action\"\s*:\s*\"auth\"\s*,\s*\"params\"\s*:\s*\""
    r"))(?P<value>[^\s\"',}{&]+)"
    r"|(?P<user>://[^\s/:@]*:)(?P<word>[^\s/@]+)(?=@)",
    re.IGNORECASE | re.DOTALL,
)
_READ_MAX = 4_000
"""Text is cut before it is searched: a poison message must not cost a second of matching."""
_LOGGED_MAX = 500


def mask(value: str) -> str:
    """Return a secret with all but its last four characters hidden."""
    return "****" + value[-4:] if len(value) > 8 else "****"


def mask_text(text: str) -> str:
    """Return free text, shortened, with everything that looks like a secret hidden."""

    def hide(match: re.Match[str]) -> str:
        if match["pem"]:
            return "****private key****"
        if match["user"]:
            return f"{match['user']}****"
        return f"{match['lead']}{mask(match['value'])}"

    shown = _SECRET_TEXT.sub(hide, text[:_READ_MAX])
    if len(shown) <= _LOGGED_MAX and len(text) <= _READ_MAX:
        return shown
    return f"{shown[:_LOGGED_MAX]}…({len(text)})"


def mask_payload(data: bytes) -> str:
    """Return undecodable bytes as masked, printable text."""
    return mask_text(data.decode("utf-8", "backslashreplace"))


def _mask_event(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {key: _mask_value(key, value) for key, value in event.items()}


def _mask_value(key: str, value: Any, hidden: bool = False) -> Any:
    """Return what may be written of a value; what lies within a secret is secret too."""
    hidden = hidden or bool(_SECRET_NAME.search(key) and not key.endswith("_file"))
    if isinstance(value, Mapping):
        return {str(name): _mask_value(str(name), item, hidden) for name, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_mask_value(key, item, hidden) for item in value]
    if value is None or (isinstance(value, (bool, int, float)) and not hidden):
        return value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return mask(str(value)) if hidden else mask_text(str(value))


def make_logger(service: str, clock: Clock, level: str = "info") -> Logger:
    """Return a logger that writes JSON lines to standard error.

    `t_ns` is the run's clock (it may be scaled), `wall` the system's.
    """

    def stamp(_: Any, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
        event["t_ns"] = clock.now_ns()
        return event

    if level not in LEVELS:
        raise ValueError(f"log_level: expected one of {', '.join(LEVELS)}, given {level!r}")
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    logger: Logger = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="wall"),
            stamp,
            structlog.processors.format_exc_info,
            _mask_event,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
    ).bind(service=service)
    return logger
