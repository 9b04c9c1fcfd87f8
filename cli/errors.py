"""What ends a command with one line instead of a traceback."""

EXIT_INTERRUPTED = 130


class OperatingError(Exception):
    """The surroundings did not allow what was asked; the text says what and what to do."""
