"""How a job ended: from its exit code, what it wrote, and what must be written for one that could not."""

import contextlib
import json
import math
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from cnntrain.engine.storage import write_text


class Outcome(NamedTuple):
    """How a job ended. ``value`` is its monitored value (nan if it failed), ``error`` what went wrong, empty if nothing did."""

    number: int
    overrides: list[str]
    folder: Path
    config: dict[str, Any]
    value: float
    metrics: dict[str, float]
    seconds: float
    error: str


def outcome_of(
    number: int, overrides: list[str], folder: Path, config: Mapping[str, Any], code: int, seconds: float, *, timeout: bool
) -> Outcome:
    """How a job ended, from its exit code and ``status.json``; what it could not write itself is written for it."""
    status = read_json(folder / "status.json")
    error = ""
    if code != 0 or status.get("state") != "done":
        if timeout:
            error = f"stopped after {seconds:.0f} s (sweep.job_timeout)"
        elif code < 0:
            error = f"killed by {signal.Signals(-code).name}"
        else:
            error = _last_error(folder / "console.log") or f"ended with exit code {code}"
        said = status.get("state") in ("failed", "interrupted")
        with contextlib.suppress(OSError):  # its disk may be what ended the job; the table says so in any case
            if timeout or not said:
                with open(folder / "train.log", "a") as log:
                    log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} error: {error}\n")
            if not said:
                write_text(folder / "status.json", json.dumps({**status, "state": "failed", "code": code, "error": error}) + "\n")
    value = status.get("value")
    return Outcome(
        number,
        overrides,
        folder,
        dict(config),
        float(value) if not error and isinstance(value, int | float) else math.nan,
        status.get("metrics") or {},
        seconds or status.get("seconds", 0),
        error,
    )


def _last_error(console: Path) -> str:
    """What a job's last line says went wrong."""
    lines = console.read_text(errors="replace").splitlines() if console.exists() else []
    return lines[-1].removeprefix("error: ") if lines and lines[-1].startswith("error: ") else ""


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; empty if the file is absent or damaged."""
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
