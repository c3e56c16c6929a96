"""Training without importing torch's compiler, which takes two seconds and which only torch.compile needs.

torch (2.11 and 2.15) imports torch._dynamo in two places: the first call of an optimizer method marked ``_disable_dynamo``
(``add_param_group`` in the constructor, ``zero_grad``), and every ``step``, to end a graph that nobody records.
"""

import functools
import sys
from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch


def avoid_dynamo() -> None:
    """Lets torch's optimizers work without torch._dynamo: to be called before the first of them is built, when nothing is compiled."""
    # Where torch's insides are other than expected nothing matches, so nothing is changed, and torch imports what it wants.
    if "torch._dynamo" in sys.modules:
        return
    for name in ("add_param_group", "zero_grad", "state_dict", "load_state_dict"):
        method = getattr(getattr(torch.optim.Optimizer, name, None), "__wrapped__", None)
        if method is not None:
            method.__dict__.setdefault("__dynamo_disable", method)  # where the wrapper keeps what it calls once it has imported
    for kind in [getattr(torch.optim, name, None) for name in ("SGD", "Adam", "RMSprop")]:  # AdamW inherits from Adam
        step = getattr(kind, "step", None)
        if isinstance(step, FunctionType) and step.__code__.co_name == "_use_grad" and hasattr(step, "__wrapped__"):
            kind.step = _without_graph_breaks(step)  # type: ignore[union-attr]


def _without_graph_breaks(step: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(step.__wrapped__)  # type: ignore[attr-defined]
    def lean(self: torch.optim.Optimizer, *args: Any, **kwargs: Any) -> Any:
        if "torch._dynamo" in sys.modules:
            return step(self, *args, **kwargs)
        with torch.set_grad_enabled(self.defaults["differentiable"]):
            return step.__wrapped__(self, *args, **kwargs)  # type: ignore[attr-defined]

    return lean
