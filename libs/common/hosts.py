"""Tell this machine's addresses from the outside world's."""

import ipaddress
from urllib.parse import urlsplit


def is_outside(url: str) -> bool:
    """Return whether an address is the outside world: only a loopback is a laboratory.

    Anything that is not plainly this machine counts as real money.
    """
    try:
        host = urlsplit(url).hostname or ""
        return host != "localhost" and not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return True
