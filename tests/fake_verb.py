"""A verb, a task and a group of a user's own, small enough to be run through the whole command line many times."""

from pathlib import Path

VERB = """\
# A task for tests
# example: cnntrain fake x=0.1
defaults:
  - _self_
  - part: a
  - experiment: null
  - override hydra/launcher: cnntrain
  - override hydra/hydra_logging: none
  - override hydra/job_logging: none
_target_: faketask.fake
x: 0.5        # a number
seed: 0       # of nothing
how: fine     # how it ends
machine:
  threads: null  # as many as there are
sweep:
  parallel: 1          # jobs at once
  job_timeout: null    # seconds
  resume: false        # the newest sweep of the same command
trust: []     # modules
debug: false  # the traceback
hydra:
  run:
    dir: outputs/fake
  sweep:
    dir: outputs/sweep
  output_subdir: null
"""
TASK = """\
import os, signal, sys, threading, time
from typing import Any
from cnntrain.units import Count, Fraction, Size

class Part:
    def __init__(self, *, depth: Count) -> None:
        self.depth = depth

def fake(*, part: Any, x: Fraction, seed: Size, how: str, machine: dict[str, Any], run) -> dict:
    with run:
        print("x is", x)
        if how == "raise":
            raise ValueError("oh no")
        if how == "exit":
            sys.exit(7)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "hang":
            time.sleep(1000)
        if how == "train":  # more than one thread, forwards and backwards
            import torch
            torch.set_num_threads(2)
            weights = torch.randn(256, 256, requires_grad=True)
            (weights @ weights).sum().backward()
        run.result = {"value": x + seed / 100, "metrics": {"val/accuracy": x + seed / 100}, "parent": os.getppid()}
    return {**run.result, "folder": str(run.folder)}
"""


def lay_out(folder: Path) -> Path:
    """Write the verb, its task and its group into a working folder."""
    (folder / "conf" / "part").mkdir(parents=True)
    (folder / "conf" / "fake.yaml").write_text(VERB)
    for name, depth in (("a", 3), ("b", 4)):
        (folder / "conf" / "part" / f"{name}.yaml").write_text(f"# Part {name}\n_target_: faketask.Part\ndepth: {depth}  # how deep\n")
    (folder / "faketask.py").write_text(TASK)
    return folder
