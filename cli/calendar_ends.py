"""The line that commands print while a table of the calendar is about to end, or has."""

import time
from datetime import date

from rich.console import Console

from libs.domain.calendar_ends import ending
from libs.domain.eastern import eastern_date


def tell_ends(console: Console, day: date | None = None) -> None:
    """Print a warning for each table that ends soon after a New York day, default today."""
    for text in ending(day or eastern_date(time.time_ns())):
        console.print(f"warning: {text}", style="yellow", highlight=False, soft_wrap=True)
