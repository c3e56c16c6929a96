"""What a config that was read from a checkpoint may name, decided before anything is looked for or imported.

A checkpoint comes from anywhere, and a target is code that will run (FAULTS 25 and 26: loaders that called what a file's metadata named).
So with a trust list a target must be one of these, *defined* in the file that it names, not merely imported there:

* a part of ours for the place where it stands: ``model`` names ``cnntrain.model`` or ``cnntrain.layer``, the root ``cnntrain.task``, other
  nodes ``cnntrain.engine``; and a class, or a function that takes a fact of that place (so not any writer or downloader of ours);
* a module class of ``torch.nn``, or, for ``model``, a model of ``torchvision.models``;
* anything in a module that the user has listed.
"""

import ast
import re
from collections.abc import Sequence

from cnntrain.config.source import Located, load

PARTS = ("model", "data", "augment", "loss", "optimizer", "schedule", "objective", "weights")
_DOTTED = re.compile(r"[A-Za-z][A-Za-z0-9_]*(\.[A-Za-z][A-Za-z0-9_]*)+")  # no private name, no look-alike letters
FOREIGN = ("torch.nn.", "torchvision.models.")


def refusal(target: str, place: str, trust: Sequence[str]) -> str | None:
    """Why a config from a checkpoint may not name this target here, or None: by its text alone, nothing is looked for."""
    if _is_listed(target, trust):
        return None if all(part.isidentifier() for part in target.split(".")) else f"{target!r} is not a dotted name"
    if not _DOTTED.fullmatch(target):
        return f"{target!r} is not a public dotted name"
    if target.startswith(_rooms(place)) or target.startswith("torch.nn."):
        return None
    if target.startswith("torchvision.models.") and _group(place) == "model":
        return None
    if target.startswith("cnntrain."):
        rooms = " or ".join(room.removesuffix(".") for room in _rooms(place))
        return f"{target!r} may not stand here in a config from a checkpoint, only {rooms}"
    return f"{target!r} is not trusted in a config from a checkpoint"


def disproof(located: Located, trust: Sequence[str], facts: Sequence[str]) -> str | None:
    """Why a target that was found is not what its name says, or None. Only torch's and torchvision's own are imported for it."""
    target = located.target
    if target.startswith(FOREIGN) and not _is_listed(target, trust):
        is_model = "." not in located.name and _is_foreign_model(target)
        return None if is_model else f"{target!r} is no model of torch.nn or torchvision.models"
    node = located.definition
    if node is None:
        return f"{located.module.name} does not itself define {located.name!r}"
    if _is_listed(target, trust) or isinstance(node, ast.ClassDef):
        return None
    if target.startswith("cnntrain.task."):
        return None if located.module.name == f"cnntrain.task.{located.name}" else f"{target!r} is no task"
    taken = {arg.arg for arg in [*node.args.args, *node.args.kwonlyargs]}
    return None if taken & set(facts) else f"{target!r} is no part: it takes nothing that the run gives"


def _rooms(place: str) -> tuple[str, ...]:
    group = _group(place)
    if group in PARTS:
        return (f"cnntrain.{group}.", "cnntrain.layer.")
    return ("cnntrain.engine.",) if group else ("cnntrain.task.",)


def _group(place: str) -> str:
    return re.split(r"[.\[]", place)[0]


def _is_listed(target: str, trust: Sequence[str]) -> bool:
    return any(target == module or target.startswith(f"{module}.") for module in trust if module)


def _is_foreign_model(target: str) -> bool:
    from torch import nn

    found = load(target)
    home = str(getattr(found, "__module__", ""))
    if isinstance(found, type):
        return issubclass(found, nn.Module) and home.startswith(("torch.nn.", "torchvision.models."))
    if not target.startswith("torchvision.models.") or not home.startswith("torchvision.models."):
        return False
    from torchvision.models import list_models

    return getattr(found, "__name__", "") in list_models()  # no function that looks for or loads one
