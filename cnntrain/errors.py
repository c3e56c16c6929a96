"""What can go wrong, as exceptions that a user can act on.

Every one of them becomes the last line on stderr, ``error: WHAT (WHERE). Fix: ACTION``, and an exit code.
"""

from collections.abc import Callable


class CnntrainError(Exception):
    """A problem that is told in one line.

    ``what`` went wrong, ``where`` (a config key, a file, a layer) and ``fix``: one concrete action. None ends in a full stop.
    """

    exit_code = 1
    placed = False  # whether the keys that it names are those of the whole config, not of a node within another (see config/recipe.py)

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what, where, fix)
        self.what, self.where, self.fix = what, where, fix

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        return f"{self.what}{place}." + (f" Fix: {self.fix}" if self.fix else "")

    def reword(self, change: Callable[[str], str]) -> None:
        """Change the words of ``what``, ``where`` and ``fix``."""
        self.what, self.where, self.fix = self.args = change(self.what), change(self.where), change(self.fix)


class ConfigError(CnntrainError):
    """A key, value, option or verb that cannot be (exit code 2)."""

    exit_code = 2


class DataError(CnntrainError):
    """Data that are missing, broken or unfit (exit code 3)."""

    exit_code = 3


class CheckpointError(CnntrainError):
    """A checkpoint or run folder that cannot be read or written (exit code 4)."""

    exit_code = 4


class DivergedError(CnntrainError):
    """A loss, gradient or weight that is not finite (exit code 5). ``step``: after how many steps that came, where it is known."""

    exit_code = 5

    def __init__(self, what: str, *, where: str = "", fix: str = "", step: int | None = None) -> None:
        super().__init__(what, where=where, fix=fix)
        self.step = step


class OutOfMemoryError(CnntrainError):
    """Memory of the device or the host has run out (exit code 6)."""

    exit_code = 6


class SweepError(CnntrainError):
    """A sweep in which at least one job failed (exit code 7)."""

    exit_code = 7


class Interrupted(CnntrainError):
    """A signal ended the run, after its state was saved (exit code 128 + signal number)."""

    def __init__(self, what: str, *, signum: int, where: str = "", fix: str = "") -> None:
        super().__init__(what, where=where, fix=fix)
        self.exit_code = 128 + signum


class Stopped(BaseException):
    """A signal where there is nothing to save: no Exception, so that nothing on the way takes it for a broken picture or model."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum, self.exit_code = signum, 128 + signum
