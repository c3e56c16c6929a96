"""Python values as words of Hydra's override grammar."""

import os
import re
from pathlib import Path
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./-][\w./:-]*")
_SPECIAL = {"null", "true", "false", "nan", "inf", "-inf"}


def quote(text: str) -> str:
    """The text in single quotes, so that the grammar takes all of it as one string."""
    return "'" + re.sub(r"(\\*)'", lambda found: found[1] * 2 + "\\'", re.sub(r"\\+$", lambda found: found[0] * 2, text)) + "'"


def path_word(word: str) -> str:
    """KEY=VALUE as it is, but quoted if VALUE is a file or folder whose name the grammar would not take (``0_seed=1``, blanks, commas).

    A shell leaves the ~ of KEY=~/x alone: here it becomes the home folder.
    """
    key, _, value = word.partition("=")
    if value.startswith("~/"):
        return f"{key}={quote(os.path.expanduser(value))}"
    if not value or _PLAIN.fullmatch(value) or value[0] in "'\"[{(":
        return word
    return f"{key}={quote(value)}" if os.path.exists(value) else word


def literal(value: Any) -> str:
    """A value as the grammar writes it: ``null``, ``true``, numbers, strings (quoted where needed), lists and dicts."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{','.join(literal(item) for item in value)}]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{literal(str(key))}:{literal(item)}" for key, item in value.items()) + "}"
    text = str(value) if isinstance(value, str | Path) else repr(value)
    return text if _PLAIN.fullmatch(text) and text.lower() not in _SPECIAL else quote(text)
