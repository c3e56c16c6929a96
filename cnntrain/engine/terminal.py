"""The terminal: one place that knows its width and whether it can take colour."""

import sys

from rich.console import Console


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout (or stderr) as it is now; plain text of 80 columns where there is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else 80
    return Console(file=stream, highlight=False, width=width, soft_wrap=False)
