"""Writes docs/models.md: every `conf/model/*.yaml`, its paper, figures, and whether it equals torchvision's net (`make models`).

The paper is what the file's first comment says, parameters and multiply-adds are counted here, the smallest image is the ledger's (a
test trains a step on it), and whether torchvision's weights give the same logits is tried here, with each net.
"""

import re
import sys
from pathlib import Path

import torch
from rich.progress import track

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
from model.entries import CONF, Entry, build, give_statistics, read, twin  # noqa: E402 (tests/ is not a package of its own)

from cnntrain.engine.shapes import layer_table, totals  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
HEAD = """# The networks

Every `model=…`, as `make models` counts them. Parameters are trainable ones and multiply-adds those of one picture, both in evaluation, at
the image size and number of classes given; *smallest* is the smallest image that trains and evaluates. *= torchvision*: with torchvision's
weights, loaded by name, both give the same logits (to 10⁻⁵ of the largest, in evaluation; tried by the same command).
Each family's file in `cnntrain/model/` names its paper and every deviation from it.

| `model=` | what | paper | at | parameters | multiply-adds | smallest | = torchvision |
|---|---|---|---|---:|---:|---:|---|
"""


def headline(name: str) -> tuple[str, str]:
    """What a YAML's first comment says: the net, and its paper in brackets."""
    line = (CONF / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[0].removeprefix("#").strip()
    what, _, _ = line.partition(":")
    paper = re.search(r"\(([^()]*\b(?:19|20)\d\d[^()]*)\)", line)
    return re.sub(r"\s*\([^()]*\b(?:19|20)\d\d[^()]*\)", "", what), paper[1] if paper else ""


def equals_torchvision(name: str, entry: Entry) -> bool:
    """Whether torchvision's weights, loaded by name, give the same logits."""
    torch.manual_seed(0)
    reference = twin(entry, entry.at[1]).eval()
    give_statistics(reference)
    with torch.device("meta"):
        net = build(name, **entry.facts)
    net.load_state_dict(reference.state_dict(), assign=True)
    images = torch.randn(1, entry.at[0], entry.at[2], entry.at[2])
    with torch.no_grad():
        ours, theirs = net.eval()(images), reference(images)
    return bool((ours - theirs).abs().max() <= 1e-5 * theirs.abs().max())


def row(name: str, entry: Entry) -> str:
    """A line of the table."""
    channels, classes, size = entry.at
    with torch.device("meta"):
        net = build(name, **entry.facts)
    layers = layer_table(net, channels, size, 2)
    sums = totals([layer for layer in layers if not layer.training_only])
    what, paper = headline(name)
    same = "" if entry.twin is None else entry.twin if equals_torchvision(name, entry) else f"differs from {entry.twin}"
    outputs = f", {classes} classes" if entry.output == "logits" else ""
    counts = f"{sums.trainable:,} | {sums.multiply_adds / 1e6:,.1f} M | {entry.smallest}"
    return f"| `{name}` | {what} | {paper} | {size}×{size}×{channels}{outputs} | {counts} | {same} |"


def main() -> None:
    """Write the page."""
    entries = read()
    rows = [row(name, entries[name]) for name in track(sorted(entries), description="models")]
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(HEAD + "\n".join(rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
