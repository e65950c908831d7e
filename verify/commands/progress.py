"""What goes on, on standard error."""

from __future__ import annotations

import time

from rich.console import Console
from rich.markup import escape


class Progress:
    """One live line on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.started = time.monotonic()
        # A terminal that moves no cursor (TERM=dumb) would show nothing of a status.
        self.status = console.status("starting") if console.is_interactive else None
        self.last = ""

    def __enter__(self) -> Progress:
        if self.status:
            self.status.start()
        return self

    def __exit__(self, *details: object) -> None:
        if self.status:
            self.status.stop()

    def say(self, text: str) -> None:
        """Show what is going on; the same line twice is shown once."""
        if text == self.last:
            return
        self.last = text
        if self.status:
            self.status.update(escape(text))
        else:
            seconds = time.monotonic() - self.started
            self.console.print(f"[{seconds:6.1f} s] {text}", markup=False, soft_wrap=True)

    def say_of(self, check: str, text: str) -> None:
        """Show what a check is doing."""
        self.say(f"{check}: {text}" if check else text)
