"""Thousands of SIGKILLs: ``python tests/faults/soak.py --kills 5000 --seed 7``, or ``make soak``.

Each run is killed at random times, at random file operations and after random steps, life by life, until it has come to its end; it must
then have left what the undisturbed run leaves, bit for bit. Ends with exit code 1 at the first that has not, and says how to repeat it.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script: tests/ is where the others are

from faults import forked
from faults.disk import KILL, TORN, Disk, room
from faults.remains import everything, leftovers
from workload import train

from cnntrain.engine.checkpoint import read_newest

RUNS = [
    {"every": "2it", "epochs": 1},
    {"every": "1it", "epochs": "24it", "optimizer": "adamw", "average": "ema"},
    {"every": "5it", "epochs": 2, "average": "lookahead", "patience": 1},
    {"every": "3it", "epochs": 2, "optimizer": "fused_sgd", "average": "swa", "microbatch": 3},
    {"every": 1, "epochs": 2, "optimizer": "rmsprop", "clip": 0.1},
    {"every": "2it", "epochs": "20it", "precision": "bf16", "optimizer": "adam"},
    {"every": "4it", "epochs": "20it", "optimizer": "fused_adamw", "val": False},
]
LIVES = 60  # most kills of one run; its next life is left alone


class Wrong(Exception):
    """A run that has not ended as it should have."""


class Soak:
    """Runs with their kills, and the counts of both."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder, self.seed = folder, seed
        self.counts: Counter[str] = Counter()
        self.wholes: dict[int, tuple[str, int, float]] = {}

    def whole(self, which: int) -> tuple[str, int, float]:
        """Of the undisturbed run: what it leaves, the number of its file operations, and its seconds."""
        if which not in self.wholes:
            folder, start = self.folder / f"whole{which}", time.monotonic()
            with Disk() as disk:
                train(folder, **RUNS[which])
            self.wholes[which] = everything(folder), len(disk.seen), time.monotonic() - start
        return self.wholes[which]

    def run(self, number: int) -> None:
        """One run, killed until it is done.

        Raises:
            Wrong: a checkpoint was lost, or the end is not that of the undisturbed run.
        """
        chance = random.Random(f"{self.seed} {number}")
        which = chance.randrange(len(RUNS))
        whole, operations, seconds = self.whole(which)
        folder, done = self.folder / f"{number}", 0
        for life in range(LIVES + 1):
            way = chance.choice(("time", "time", KILL, TORN, "step")) if life < LIVES else "none"
            code, output = self.live(folder, which, way, chance, operations, seconds)
            if code == 0:
                break
            if code != 128 + signal.SIGKILL:
                raise Wrong(f"life {life} ended with code {code}:\n{output}")
            self.counts |= {"kills": self.counts["kills"] + 1, way: self.counts[way] + 1}
            found, remarks = read_newest(folder) if folder.exists() else (None, [])
            step = found.meta["step"] if found else 0
            if remarks or step < done:
                self.counts["lost"] += 1
                raise Wrong(f"after life {life} the newest checkpoint is of step {step}, it was of step {done} before; {remarks}")
            done = step
        self.counts |= {"runs": self.counts["runs"] + 1, "resumes": self.counts["resumes"] + life}
        if everything(folder) != whole:
            self.counts["inexact"] += 1
            raise Wrong("it has left something else than the undisturbed run")
        if leftovers(folder):
            self.counts["leftovers"] += 1
            raise Wrong(f"it has left {leftovers(folder)}")
        shutil.rmtree(folder)

    def live(self, folder: Path, which: int, way: str, chance: random.Random, operations: int, seconds: float) -> forked.Ended:
        """One life, with its death."""
        at, steps, patience = chance.randrange(1, operations + 1), chance.randrange(1, 10), chance.uniform(0, 0.6 * seconds)

        def work() -> None:
            seen: list[int] = []

            def on_step(step: int) -> None:
                seen.append(step)
                if way == "step" and len(seen) > steps:
                    os.kill(os.getpid(), signal.SIGKILL)

            with Disk(at if way in (KILL, TORN) else None, way):
                train(folder, on_step=on_step, **RUNS[which])

        console = folder.with_suffix(".console")
        console.touch()
        child = forked.start(work, console)
        if way == "time":
            time.sleep(patience)
            child.send(signal.SIGKILL)
        ended = child.wait(timeout=600)
        console.unlink()
        return ended

    def summary(self, seconds: float) -> str:
        """The counts in a line."""
        one = self.counts
        ways = f"{one['time']:,} at random times, {one[KILL] + one[TORN]:,} at file operations, {one['step']:,} after steps"
        ends = ", ".join(f"{name} {one[name]}" for name in ("lost", "inexact", "leftovers"))
        pace = f"{60 * one['kills'] / max(seconds, 1e-9):,.0f} kills a minute"
        return f"{one['runs']:,} runs, {one['kills']:,} kills ({ways}), {one['resumes']:,} resumes; {ends}; {pace}; seed {self.seed}"


def main() -> int:
    """Soak, and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=5000, help="end after so many")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="or after so long")
    parser.add_argument("--seed", type=int, default=int(os.environ.get("CNNTRAIN_TEST_SEED", "0")))
    parser.add_argument("--only", type=int, help="one run, by its number")
    given = parser.parse_args()
    start = told = time.monotonic()
    with room() as folder:
        soak, number = Soak(folder, given.seed), given.only or 0
        while True:
            try:
                soak.run(number)
            except (Wrong, TimeoutError) as error:
                again = f"python tests/faults/soak.py --seed {given.seed} --only {number}"
                print(f"{soak.summary(time.monotonic() - start)}\nwrong: run {number}: {error}\nto repeat it: {again}", file=sys.stderr)
                return 1
            number += 1
            now = time.monotonic()
            over = given.only is not None or soak.counts["kills"] >= given.kills or now - start > 60 * given.minutes
            if over or now - told > 30:
                told = now
                print(soak.summary(now - start), flush=True)
            if over:
                return 0


if __name__ == "__main__":
    sys.exit(main())
