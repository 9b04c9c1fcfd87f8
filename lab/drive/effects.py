"""What the cores wanted done, in order, as bytes and as one digest of them all."""

import hashlib
from typing import BinaryIO

import msgspec

from libs.common.effects import Effect, Publish


class EffectLog:
    """Fold every effect of every service into a digest; keep the bytes when there is a file.

    Two runs did the same if and only if their digests are equal.
    """

    def __init__(self, kept: BinaryIO | None = None) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._encoder = msgspec.msgpack.Encoder()
        self._kept = kept
        self.count = 0

    def add(self, service: str, now_ns: int, effect: Effect, published: bytes = b"") -> None:
        """Take one effect; `published` are the wire bytes of a message that goes out."""
        fenced = isinstance(effect, Publish) and effect.fenced
        body = published or self._encoder.encode(effect)
        head = f"{service} {now_ns} {type(effect).__name__} {fenced:d} {len(body)}\n".encode()
        self._digest.update(head)
        self._digest.update(body)
        self.count += 1
        if self._kept is not None:
            self._kept.write(head + body + b"\n")

    @property
    def digest(self) -> str:
        """Return the digest of all effects so far."""
        return self._digest.hexdigest()
