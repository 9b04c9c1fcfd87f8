"""What an operator signs: the bytes behind an `Override`'s signature, and its limits."""

import msgspec

from libs.common.messages import Override

FORMAT = "kalshi-alpha override 1"
_SIGNED = ("nonce", "kind", "scope", "value", "reason", "by", "issued_ns", "expires_ns")


def override_bytes(override: Override) -> bytes:
    """Return the bytes that are signed: all that it says, and the name of this format."""
    said = {name: getattr(override, name) for name in _SIGNED}
    return msgspec.json.encode({"format": FORMAT, **said}, order="sorted")
