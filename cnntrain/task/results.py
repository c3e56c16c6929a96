"""Result files that ``out=`` asks for: JSON and CSV, whole or not there, with decimal points whatever the locale."""

import csv
import io
import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from cnntrain.engine.storage import finite, write_whole
from cnntrain.errors import CheckpointError, ConfigError


def check_out(out: str | None, endings: Sequence[str]) -> Path | None:
    """The file that will be written, checked before any work is done.

    Raises:
        ConfigError: its ending is none of ``endings``.
        CheckpointError: its folder is missing or cannot be written to, or a folder has that name.
    """
    if out is None:
        return None
    path = Path(os.path.expanduser(out))
    if path.suffix.lower() not in endings:
        raise ConfigError(f"{out!r} does not end in {' or '.join(endings)}", where="out", fix=f"out={path.with_suffix(endings[0])}")
    if not path.parent.is_dir():
        raise CheckpointError(f"There is no folder {path.parent}", where="out", fix=f"mkdir -p {path.parent}")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise CheckpointError(f"{path} cannot be written", where="out", fix="name a file in a folder that you may write to")
    return path


def write_json(path: Path, tree: dict[str, Any]) -> None:
    """A plain tree as JSON, in ASCII; what is not a number becomes null, as JSON has no NaN."""
    _write(path, json.dumps(finite(tree), indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Rows as RFC 4180 has them: quoted where a comma, quote or line break asks for it; NaN is an empty cell."""
    text = io.StringIO(newline="")
    csv.writer(text).writerows([["" if cell is None or cell != cell else cell for cell in row] for row in rows])
    _write(path, text.getvalue())


def _write(path: Path, text: str) -> None:
    # A file's name may hold bytes that are no UTF-8 (Python carries them as surrogates): they are written back as they were.
    content = text.encode("utf-8", "surrogateescape")

    try:
        write_whole(path, lambda file: file.write(content))
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error.strerror}", where="out", fix="name a file on storage with room") from error
