"""Which exchange a command speaks to: `--env`, or both addresses given."""

from urllib.parse import urlsplit

from msgspec import Struct

from cli.processes import ROOT
from libs.common.config import ConfigError, load_config
from libs.common.hosts import is_outside
from libs.kalshi.signing import REST_PREFIX, WEBSOCKET_PATH


class Exchange(Struct, frozen=True, forbid_unknown_fields=True):
    """The two addresses of one exchange."""

    rest_url: str
    ws_url: str


class Exchanges(Struct, frozen=True, forbid_unknown_fields=True):
    """`configs/exchanges.yaml`: Kalshi's production and its demo exchange, and the index."""

    index_url: str
    prod: Exchange
    demo: Exchange


def known_exchanges() -> Exchanges:
    """Return the addresses of the outside world that come with the program."""
    return load_config([ROOT / "configs" / "exchanges.yaml"], Exchanges)


def chosen_exchange(env: str | None, rest_url: str | None, ws_url: str | None) -> Exchange:
    """Return the exchange that the options name; raise ConfigError.

    Beyond this machine only encrypted connections are made: a request carries a signature.
    """
    if env is not None and (rest_url or ws_url):
        raise ConfigError("--env: expected it alone, or --rest-url and --ws-url instead of it")
    if env is not None:
        if env not in ("prod", "demo"):
            raise ConfigError(f"--env: expected prod or demo, given {env!r}")
        known = known_exchanges()
        return known.prod if env == "prod" else known.demo
    if not rest_url or not ws_url:
        raise ConfigError("expected --env prod, --env demo, or --rest-url and --ws-url")
    exchange = Exchange(rest_url.rstrip("/"), ws_url.rstrip("/"))
    for option, url, scheme, path in (
        ("--rest-url", exchange.rest_url, "http", REST_PREFIX),
        ("--ws-url", exchange.ws_url, "ws", WEBSOCKET_PATH),
    ):
        demand_scheme(option, url, scheme)
        if urlsplit(url).path != path:  # the path is part of what is signed
            raise ConfigError(f"{option}: expected it to end with the path {path}, given {url!r}")
    return exchange


def demand_scheme(option: str, url: str, scheme: str) -> None:
    """Raise ConfigError unless a URL has its scheme, and the encrypted one beyond this machine."""
    try:
        parts = urlsplit(url)
        found, host = parts.scheme, parts.hostname
    except ValueError:
        found, host = "", None
    outside = host is not None and is_outside(url)
    if found not in (scheme, f"{scheme}s") or not host or (outside and found == scheme):
        wanted = f"{scheme}s://" if outside else f"{scheme}:// or {scheme}s://"
        raise ConfigError(f"{option}: expected {wanted}host/…, given {url!r}")
