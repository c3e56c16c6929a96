"""The terminal: one place that knows its width and whether it can take colour."""

import sys

from rich.console import Console


class _Console(Console):
    """rich's, but the cursor stays to be seen: hidden by a live display of a process that is then killed, it would stay hidden."""

    def show_cursor(self, show: bool = True) -> bool:
        """Nothing is done: the cursor is never hidden."""
        return False


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout (or stderr) as it is now; plain text of 80 columns where there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 80
    return _Console(file=stream, highlight=False, width=width, soft_wrap=False)
