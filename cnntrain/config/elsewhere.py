"""Networks of other packages that an option of ours builds by name, found in their text: nothing is imported to suggest one."""

import re
from collections.abc import Iterable
from pathlib import Path

from cnntrain.config.source import find_module

# By the option of the group ``model``: the package of the networks, and how its files begin the one of a name.
_HOMES = {
    "torchvision": ("torchvision.models", r"^def {}\(\s*\*, weights\b"),
    "timm": ("timm.models", r"^@register_model\ndef {}\("),
}


def built_by(name: str, options: Iterable[str]) -> str | None:
    """The one of the ``options`` that builds the network of that name (``torchvision`` for ``efficientnet_b0``), or None."""
    known = set(options)
    if not re.fullmatch(r"\w+", name, re.ASCII):
        return None
    return next((option for option, (package, begins) in _HOMES.items() if option in known and _defines(package, begins, name)), None)


def _defines(package: str, begins: str, name: str) -> bool:
    home = find_module(package)
    for path in (path for folder in (home.folders if home else None) or () for path in Path(folder).glob("*.py")):
        text = path.read_bytes()
        if f"\ndef {name}(".encode() in text and re.search(begins.format(name).encode(), text, re.MULTILINE):
            return True
    return False
