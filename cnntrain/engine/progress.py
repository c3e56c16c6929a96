"""The live display: a bar in a terminal, plain lines elsewhere."""

import io
import sys
from collections.abc import Mapping
from typing import Literal

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.table import Table

from cnntrain.engine.clock import Clock
from cnntrain.engine.terminal import console

# How a figure beside the loss is written: factor and unit, by its name. Others are in metrics.jsonl and TensorBoard alone.
UNITS = {"accuracy": (100.0, "%"), "psnr": (1.0, "dB")}


class Progress:
    """Shows where training is. ``auto``: a bar in a terminal, a line an epoch elsewhere; ``off``: neither."""

    def __init__(self, clock: Clock, mode: Literal["auto", "bar", "lines", "off"]) -> None:
        self.clock, self.mode = clock, mode
        live = mode == "bar" or (mode == "auto" and sys.stdout.isatty())
        self.console = console()
        # No refresh thread: it would take a share of the cores that train. The bar moves when the loop reports.
        self.bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=10),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(compact=True),
            console=self.console,
            auto_refresh=False,
            transient=True,
            disable=not live,
        )
        self.task = self.bar.add_task("train", total=clock.total, epoch="", figures="")

    def start(self) -> None:
        """Show the bar."""
        if not self.bar.live.is_started:
            self.bar.start()

    def stop(self) -> None:
        """Take the bar away."""
        self.bar.stop()

    def line(self, text: str) -> None:
        """A line of its own, above the bar."""
        if self.mode != "off":
            self.console.print(text, markup=False, soft_wrap=True)

    def table(self, table: Table) -> None:
        """A table of its own."""
        if self.mode != "off":
            self.console.print(table)

    def step(self, step: int, row: dict[str, float]) -> None:
        """Move the bar to ``step``."""
        if self.bar.disable:
            return
        epoch = min((step - 1) // self.clock.steps_per_epoch + 1, self.clock.num_epochs)
        figures = f"loss {row.get('train/loss', 0):.3f} · lr {row['optimizer/lr']:.2g}"
        if "speed/images_per_second" in row:
            figures += f" · {row['speed/images_per_second']:,.0f} img/s · data {100 * row['speed/waiting_for_data']:.0f} %"
        self.bar.update(self.task, completed=step, epoch=f"{epoch}/{self.clock.num_epochs}", figures=figures, refresh=True)

    def epoch(self, epoch: int, row: dict[str, float], *, best: bool) -> str:
        """One line for the epoch that is done; returns it."""
        words = [f"epoch {epoch:>{len(str(self.clock.num_epochs))}}/{self.clock.num_epochs}"]
        for part, name in (("epoch", "train"), ("val", "val")):
            if f"{part}/loss" in row:
                words.append(" ".join([name, f"{row[f'{part}/loss']:.4f}", *figures(row, part)]))
        if "speed/images_per_second" in row:
            words.append(f"{row['speed/images_per_second']:,.0f} img/s")
        line = "  ".join(words) + ("  best" if best else "")  # within 80 columns up to epoch 100/100
        self.line(line)
        return line


def figures(row: Mapping[str, float], part: str) -> list[str]:
    """The figures of a part that have a unit, in words: `` 97.50 %``."""
    known = ((f"{part}/{name}", factor, unit) for name, (factor, unit) in UNITS.items())
    return [f"{factor * row[key]:6.2f} {unit}" for key, factor, unit in known if key in row]


def as_text(table: Table) -> str:
    """A table as plain text of at most 80 columns, for the run's log."""
    text = io.StringIO()
    Console(file=text, width=80).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())
