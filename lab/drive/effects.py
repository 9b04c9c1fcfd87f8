"""What the cores wanted done, in order, as one digest."""

import hashlib

import msgspec

from libs.common.effects import Effect, Publish

FOLD_BYTES = 65_536
_encode = msgspec.msgpack.Encoder().encode


class EffectLog:
    """Fold every effect of every service, its bytes and its time into a digest.

    Two runs did the same if and only if their digests are equal.
    """

    def __init__(self) -> None:
        self._digest = hashlib.blake2b(digest_size=16)
        self._waiting = bytearray()
        self.count = 0

    def add(self, service: str, now_ns: int, effect: Effect, published: bytes = b"") -> None:
        """Take one effect; `published` are the wire bytes of a message that goes out."""
        fenced = isinstance(effect, Publish) and effect.fenced
        body = published or _encode(effect)
        head = f"{service} {now_ns} {type(effect).__name__} {fenced:d} {len(body)}\n"
        waiting = self._waiting
        waiting += head.encode()
        waiting += body
        self.count += 1
        if len(waiting) >= FOLD_BYTES:
            self._fold()

    @property
    def digest(self) -> str:
        """Return the digest of all effects so far."""
        self._fold()
        return self._digest.hexdigest()

    def _fold(self) -> None:
        self._digest.update(self._waiting)
        self._waiting.clear()
