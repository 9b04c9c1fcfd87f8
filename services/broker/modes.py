"""What each mode needs before anything starts: pure, asked by `alpha up` and by the broker."""

from typing import Literal

from msgspec import Struct

from libs.common.hosts import is_outside

Mode = Literal["sim", "dry", "live"]


class Situation(Struct, frozen=True, kw_only=True):
    """What is known before the start. A problem is "" when there is none.

    `index_url` None: whoever asks knows nothing of the index.
    """

    mode: Mode
    rest_url: str
    ws_url: str
    index_url: str | None = None
    key_problem: str = ""
    index_key_problem: str = ""
    readiness_problem: str = ""
    risks_understood: bool = False


def missing(now: Situation) -> tuple[str, ...]:
    """Return everything that keeps this mode from starting, one line each; empty: start."""
    found = [*_exchange(now), *_index(now)]
    if now.key_problem:
        found.append(f"exchange key: {now.key_problem}")
    if now.index_key_problem:
        found.append(f"index key: {now.index_key_problem}")
    if now.mode == "live":
        if now.readiness_problem:
            found.append(f"readiness: NO-GO: {now.readiness_problem}")
        if not now.risks_understood:
            found.append("consent: expected --i-understand-the-risks")
    return tuple(found)


def _exchange(now: Situation) -> list[str]:
    urls = (now.rest_url, now.ws_url)
    outside = [is_outside(url) for url in urls]
    if any(outside) and not all(outside):
        return [f"exchange: expected both addresses of one exchange, given {' and '.join(urls)}"]
    if now.mode == "sim" and any(outside):
        return ["exchange: expected mode dry or live for one beyond this machine, given sim"]
    if now.mode == "live" and not all(outside):
        return ["exchange: expected Kalshi's own addresses, given this machine's"]
    if any(outside) and not (
        now.rest_url.startswith("https://") and now.ws_url.startswith("wss://")
    ):
        return [f"exchange: expected https:// and wss://, given {' and '.join(urls)}"]
    return []


def _index(now: Situation) -> list[str]:
    """An exchange beyond this machine is quoted on live inputs alone."""
    if now.index_url is None or not is_outside(now.rest_url):
        return []
    if not is_outside(now.index_url):
        return [f"inputs: expected live ones, given the index of this machine, {now.index_url}"]
    if not now.index_url.startswith("wss://"):
        return [f"inputs: expected wss:// for the index, given {now.index_url}"]
    return []
