"""Where a command writes what it found."""

import os
from pathlib import Path

from libs.common.config import ConfigError


def writable(path: Path, option: str) -> Path:
    """Make the folder of a file to be written, before the work; raise ConfigError if it can't be.

    So minutes of work are not lost for a name.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{option}: {path.parent}: expected a folder, got {error.strerror}"
        ) from None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{option}: {path}: expected a file that can be written")
    return path
