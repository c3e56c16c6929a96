"""cnntrain trains convolutional networks from config files; from Python as from the command line.

``cnntrain.train("model=resnet18", "data=cifar10", epochs=3)`` takes the words of the command line, and keys as keywords, and
returns the task's result; so do ``evaluate``, ``predict``, ``filter``, ``summary``, ``lr_find`` and ``resume``.
``cnntrain.load(checkpoint)`` gives a module with its preprocessing. Nothing is imported before it is asked for; what goes wrong is a
``CnntrainError``.
"""

from typing import Any

_VERBS = ("train", "evaluate", "predict", "filter", "summary", "lr_find", "resume")  # filter is not for import *: it is Python's own
__all__ = ["CnntrainError", "__version__", "evaluate", "load", "lr_find", "predict", "resume", "summary", "train"]


def __getattr__(name: str) -> Any:
    """One name of the public face, imported now."""
    if name in _VERBS:
        from functools import partial

        from cnntrain.cli import call

        return partial(call, name)
    if name == "load":
        from cnntrain.task.load import load

        return load
    if name == "CnntrainError":
        from cnntrain.errors import CnntrainError

        return CnntrainError
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("cnntrain")
        except PackageNotFoundError:
            return "0.0.0"  # a working tree that was never installed
    raise AttributeError(f"module 'cnntrain' has no attribute {name!r}")


def __dir__() -> list[str]:
    """The public face."""
    return sorted(__all__)
