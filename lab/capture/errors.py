"""What can be wrong with a capture: one line with the file, the expectation and the finding."""

from pathlib import Path


class CaptureError(Exception):
    """Root of what captures raise.

    CaptureError
    ├── NotACapture       other bytes, or nothing there
    ├── UnknownVersion    written by another version of this code
    ├── Truncated         its end is missing
    ├── WrongChecksum     bytes were changed since they were written
    └── BadRecord         a whole block whose records can't be what was written
    """

    def __init__(self, path: Path, expected: str, found: str) -> None:
        super().__init__(f"{path}: expected {expected}, found {found}")


class NotACapture(CaptureError):
    """The file is no capture, or can't be read at all."""


class UnknownVersion(CaptureError):
    """The capture's format is none that this code reads."""


class Truncated(CaptureError):
    """The capture ends before it was closed."""


class WrongChecksum(CaptureError):
    """A part of the capture is not what was written."""


class BadRecord(CaptureError):
    """A record that breaks the format's own rules."""
