"""From a node of the config to a checked call that is not yet made.

``check`` walks a whole plain tree, compares every node with the signature of its ``_target_``, and reports all problems at once.
What it returns, a :class:`Recipe`, is called by the task when the facts are known: ``recipe(num_classes=10, …)``.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from cnntrain.config import trust as trusting
from cnntrain.config.signature import COMPUTED, Parameter, Signature, read, signature_of
from cnntrain.config.source import load, locate
from cnntrain.config.suggest import ask, key_meant
from cnntrain.config.values import Misfit, fit, show
from cnntrain.errors import CnntrainError, ConfigError

MISSING = "???"  # how YAML writes a value that must still be given

# What the run gives to the node of that name, so that it may not stand in the config. A target takes those that it names.
FACTS: dict[str, tuple[str, ...]] = {
    "model": ("in_channels", "num_classes", "image_size"),
    "data": ("seed",),
    "augment": ("clock",),  # to each of its operations
    "loss": ("class_counts",),
    "optimizer": ("params",),
    "schedule": ("clock", "lr"),
    "objective": ("loss", "num_classes", "mean", "std"),
    "weights": ("model", "inputs"),
    "machine": (),
    "report": ("run", "clock", "schedule"),
    "average": ("model", "clock"),
    "stopping": ("larger_is_better",),
    "checkpoint": ("run", "clock", "facts"),
}
# The same for the tree itself, by the name of its task; a task that is not listed is given its run.
TASK_FACTS: dict[str, tuple[str, ...]] = {"resume": ("config", "changes", "command", "lock")}
_ANY_TASK = ("run",)
_SOURCES = {
    **dict.fromkeys(("in_channels", "num_classes", "image_size", "class_counts", "mean", "std"), "from the data"),
    "seed": "from the key seed",
    "params": "from the model and weights",
    "clock": "from epochs, batch_size and the data",
    "lr": "from optimizer.lr",
    "loss": "from the group loss",
    "model": "from the group model",
    "inputs": "from the data",
    "larger_is_better": "from the objective",
}


@dataclass(frozen=True)
class Recipe:
    """A checked call: ``target`` with ``values``, in which nested nodes are Recipes too. ``place`` is its dotted key in the tree."""

    target: str
    values: dict[str, Any]
    place: str = ""
    trust: tuple[str, ...] | None = field(default=None, repr=False)
    _given: dict[str, Any] | None = field(default=None, repr=False, compare=False)

    is_node: ClassVar[bool] = True  # how values.py knows the class

    def __call__(self, /, **given: Any) -> Any:
        """Make the call, with the values and those of the ``given`` facts that the target's signature names.

        Raises:
            ConfigError: a fact stands in the config too, or the target cannot be imported.
        """
        taken = {name: value for name, value in given.items() if name in read(self.target).parameters}
        for name in taken:
            if name in self.values:
                raise ConfigError(f"{_join(self.place, name)}: {_fact_text(name)}", fix=f"remove {_join(self.place, name)}")
        try:
            return load(self.target)(**self.values, **taken)
        except CnntrainError as error:
            self._place(error)
            raise

    def _place(self, error: CnntrainError) -> None:
        """Let an error name the keys of this node by their place: a part takes itself to be its group's, ``model.name``.

        Of nodes within nodes the innermost is where it came from.
        """
        if not {".", "["} & set(self.place) or error.placed:
            return
        words = self.target.split(".")
        group = words[1] if words[0] == "cnntrain" else self.place.partition(".")[0]
        error.reword(lambda text: moved(text, group, self.place, read(self.target).parameters))
        error.placed = True

    def replace(self, /, **values: Any) -> "Recipe":
        """The same call with other values, checked; a dict is laid over a node within this one.

        Raises:
            ConfigError: the target has no such parameter, or a value does not fit.
        """
        plain = {name: _plain(value) for name, value in values.items()}
        return check(_laid_over(self.plain(), plain), place=self.place, trust=self.trust)

    def plain(self) -> dict[str, Any]:
        """The node again, as the config has it."""
        return {"_target_": self.target} | _plain(self.values if self._given is None else self._given)


def moved(text: str, old: str, new: str, keys: Iterable[str]) -> str:
    """A message about ``keys`` at one place, as about the same keys at another: ``model.name=resnet50`` → ``model.net.name=resnet50``."""
    named = "|".join(map(re.escape, keys))
    return re.sub(rf"(?<![\w.]){re.escape(old)}\.(?=({named})\b)", lambda _: f"{new}.", text) if named else text


def check(tree: dict[str, Any], *, place: str = "", files: Mapping[str, str] | None = None, trust: Sequence[str] | None = None) -> Recipe:
    """Check a plain tree whole and make it a Recipe.

    ``place`` is where the tree stands (``"model"`` for a model's node alone), ``files`` the YAML file of each top-level group.
    With ``trust``, the tree comes from a checkpoint: only cnntrain's parts, torch's models and these modules may be named (``trust.py``).

    Raises:
        ConfigError: everything that is wrong, in one line.
    """
    walk = _Walk(dict(files or {}), None if trust is None else tuple(trust))
    recipe = walk.node(tree, place) if isinstance(tree, dict) and "_target_" in tree else None
    if recipe is None and not walk.problems:
        walk.problem(place, f"{show(tree)} is not a node with a _target_", f"give {place or 'the config'} a _target_")
    walk.suggest_keys()
    if recipe is not None and not walk.problems:
        return recipe
    problems = list(walk.problems)
    more = f", and correct the other {len(problems) - 1} likewise" if len(problems) > 1 else ""
    raise ConfigError("; ".join(what for what, _ in problems), fix=problems[0][1] + more)


class _Walk:
    """One check of one tree: collects problems as (what, fix), in the order of the tree."""

    def __init__(self, files: dict[str, str], trust: tuple[str, ...] | None) -> None:
        self.files, self.trust = files, trust
        self.problems: list[tuple[str, str]] = []
        self.paths: list[str] = []  # of all right keys
        self.unknown: list[tuple[int, str, str, Signature, list[str]]] = []  # index of the problem, place, key, target, right keys

    def problem(self, place: str, text: str, fix: str) -> None:
        at = place
        while at and at not in self.files:
            at = at.rpartition(".")[0]
        file = f" in {self.files[at]}" if at in self.files else ""
        self.problems.append((f"{place or 'config'}: {text}{file}", fix))

    def node(self, node: dict[str, Any], place: str) -> Recipe:
        """A node with a ``_target_``: its keys against its target's signature."""
        signature = self.signature(node["_target_"], place)
        facts = _facts(place, signature)
        values: dict[str, Any] = {}
        for key, value in node.items():
            at = _join(place, key)
            if key == "_target_":
                continue
            if not isinstance(key, str) or _is_special(key):
                self.special(key, at)
            elif key in facts:
                self.problem(at, _fact_text(key), f"remove {at}" + (f" and set {source}" if (source := _own_key(key)) else ""))
            elif signature and key not in signature.parameters and not signature.open:
                own = [name for name in signature.parameters if name not in facts]
                self.unknown.append((len(self.problems), place, key, signature, own))
                self.problem(at, "", "")
            else:
                self.paths.append(at)
                parameter = signature.parameters.get(key) if signature else None
                values[key] = self.value(value, at, parameter)
        if signature:
            self.required(signature, node, place, facts)
        target = node["_target_"] if isinstance(node["_target_"], str) else ""
        given = {key: _plain(node[key]) for key in values}
        return Recipe(target, values, place, self.trust, given)

    def signature(self, target: Any, place: str) -> Signature | None:
        """The target's signature, or None and a problem."""
        at = _join(place, "_target_")
        if not isinstance(target, str) or "." not in target:
            self.problem(at, f"{show(target)} is not a dotted name", f"write {at}: module.Name, of a class or function")
            return None
        try:
            if self.trust is None:
                return read(target)
            doubt = trusting.refusal(target, place, self.trust)
            if doubt is None:
                located = locate(target)
                doubt = trusting.disproof(located, self.trust, _facts(place, None))
                if doubt is None:
                    return signature_of(located)
            module = target.rpartition(".")[0] or target
            self.problem(at, doubt, f"do not use this file, or, where {module} is your own code, add trust=[{module}]")
        except ConfigError as error:
            self.problem(at, error.what, error.fix)
        return None

    def value(self, value: Any, place: str, parameter: Parameter | None) -> Any:
        """A value with its nested nodes made Recipes, fitted to the parameter's type."""
        before = len(self.problems)
        built = self.build(value, place)
        if parameter is None or len(self.problems) > before:
            return built
        try:
            return fit(built, parameter.type)
        except Misfit as misfit:
            at = f"{place}{misfit.inside}"
            default = parameter.default
            has_example = not misfit.inside and not parameter.required and default is not COMPUTED and default is not None
            fix = f"set {at}, e.g. {at}={show(_plain(default))}" if has_example else f"set {at} to {misfit.expected}"
            self.problem(at, misfit.text, fix)
            return None

    def build(self, value: Any, place: str) -> Any:
        """A value with its nested nodes made Recipes."""
        if isinstance(value, dict):
            if "_target_" in value:
                return self.node(value, place)
            for key in value:
                if isinstance(key, str) and _is_special(key):
                    self.special(key, _join(place, key))
                else:
                    self.paths.append(_join(place, key))
            return {key: self.build(item, _join(place, key)) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.build(item, f"{place}[{index}]") for index, item in enumerate(value)]
        if isinstance(value, str) and value == MISSING:
            self.missing(place)
        return value

    def required(self, signature: Signature, node: dict[str, Any], place: str, facts: Sequence[str]) -> None:
        """Parameters without a default that neither the config nor the run gives."""
        # A node within a part's node is called by that part, which may hand its own facts on.
        handed = FACTS.get(place.partition(".")[0], ()) if "." in place or "[" in place else ()
        for parameter in signature.parameters.values():
            if parameter.required and parameter.name not in node and parameter.name not in (*facts, *handed):
                self.missing(_join(place, parameter.name))

    def missing(self, place: str) -> None:
        self.problem(place, f"missing; give {place}=…", f"add {place}=… to the command, or a value to the file")

    def special(self, key: Any, place: str) -> None:
        """Keys that Hydra would give a meaning, and keys that are no names."""
        if isinstance(key, str):
            self.problem(place, "Hydra's special keys have no meaning here: a node is a _target_ and its parameters", f"remove {place}")
        else:
            self.problem(place, f"the key {show(key)} is not a name", f"remove {place}")

    def suggest_keys(self) -> None:
        """Word the problems of unknown keys, now that all right keys are known."""
        for index, place, key, signature, own in self.unknown:
            at = _join(place, key)
            meant = key_meant(key, [name for name in own if _join(place, name) != at], [path for path in self.paths if path != at])
            text = f"{signature.name} has no such parameter{ask(*meant) if meant else ''}"
            held, self.problems = self.problems, []
            if meant:
                right = _join(place, meant[0]) if meant[0] in own else meant[0]
                self.problem(at, text, f"write {right} instead of {at}")
            else:
                listed = ", ".join(own[:12]) + (", …" if len(own) > 12 else "")
                self.problem(at, text, f"remove {at}; {signature.name} takes {listed or 'nothing'}")
            held[index], self.problems = self.problems[0], held


def _facts(place: str, signature: Signature | None) -> tuple[str, ...]:
    """What the run gives to the node at that place."""
    if place:
        return FACTS.get("augment" if place.startswith("augment.") and place.count(".") == 1 else place, ())
    return TASK_FACTS.get(signature.name, _ANY_TASK) if signature else _ANY_TASK


def _fact_text(name: str) -> str:
    source = f" ({_SOURCES[name]})" if name in _SOURCES else ""
    return f"is given by the run{source} and may not stand in the config"


def _own_key(fact: str) -> str:
    """The key of the config that a fact comes from, if it is one."""
    return {"seed": "seed", "lr": "optimizer.lr", "image_size": "data.image_size"}.get(fact, "")


def _is_special(key: str) -> bool:
    return key.startswith("_") and key.endswith("_")


def _join(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)


def _laid_over(node: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """A node with other values, and so the nodes within it."""
    inner = {
        key: _laid_over(node[key], value)
        for key, value in values.items()
        if isinstance(value, dict) and "_target_" not in value and isinstance(node.get(key), dict) and "_target_" in node[key]
    }
    return node | values | inner


def _plain(value: Any) -> Any:
    """A copy of a value with Recipes as nodes again and tuples as lists."""
    if isinstance(value, Recipe):
        return value.plain()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value
