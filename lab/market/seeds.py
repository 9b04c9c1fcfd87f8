"""Random generators that depend on names only, so every process draws the same numbers."""

import hashlib

import numpy as np


def generator(*parts: str | int) -> np.random.Generator:
    """Return a PCG64 generator seeded by the SHA-256 of the parts, in their order."""
    digest = hashlib.sha256("|".join(str(part) for part in parts).encode()).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16], "big")))
