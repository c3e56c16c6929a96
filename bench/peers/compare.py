"""Training images/s, batch 128, of cnntrain beside a hand loop, Lightning, Keras 3 (torch) and timm, on the same nets and pictures.

make bench-peers ARGS="--fashion DIR --cifar DIR --rounds 3 --seconds 8"
Each measurement is a process of its own that trains for some seconds after a warm-up (``work.py``; ``peer_*.py`` say why each is fair).
In a round all peers run in turn, each round from another one on; a ratio is taken within its round. Everything runs on the CPU, with
torch's own number of threads. Sets that are not given are replaced by made-up pictures of the same size and number.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from math import ceil
from pathlib import Path

import prepare
from ratios import Spread, ratio, spread
from rich import box
from rich.console import Console
from rich.table import Table
from work import BATCH, WARM_UP_SECONDS, Work

HERE = Path(__file__).parent
PEERS = {"cnntrain": "cnntrain", "hand loop": "hand", "Lightning": "lightning", "Keras (torch)": "keras", "timm": "timm"}
COLUMNS = ("images/s", "min – max", "cnntrain ÷ peer", "min – max", "peak MB")
PILOT_STEPS = {"lenet5": 200, "resnet20": 30}  # some seconds; three rows of cnntrain's metrics at least
ENVIRONMENT = {"CUDA_VISIBLE_DEVICES": "", "KERAS_BACKEND": "torch", "KERAS_TORCH_DEVICE": "cpu"}
Results = dict[str, dict[str, list[dict | None]]]  # by work and peer, a figure a round


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--works", nargs="+", choices=prepare.WORKS, default=list(prepare.WORKS), help="which works (all)")
    parser.add_argument("--peers", nargs="+", choices=[*PEERS.values()], default=[*PEERS.values()], help="which peers (all)")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each peer (3)")
    parser.add_argument("--seconds", type=float, default=8, help="of each measurement, after its warm-up (8)")
    parser.add_argument("--fashion", type=Path, help="folder of Fashion-MNIST's files (Debian's package, else made-up pictures)")
    parser.add_argument("--cifar", type=Path, help="CIFAR-10 as JPEGs, DIR/train/CLASS/*.jpg (made-up pictures)")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    return parser.parse_args()


def measure(peer: str, work: Work, amount: float, scratch: Path) -> dict | None:
    """One process: its figures, or None with its last words on stderr. ``amount`` is seconds, for cnntrain steps."""
    (scratch / "work.json").write_text(json.dumps(asdict(work)))
    command = [sys.executable, str(HERE / f"peer_{peer}.py"), "work.json", str(amount)]
    env = os.environ | ENVIRONMENT | {"KERAS_HOME": str(scratch / "keras")}
    done = subprocess.run(command, cwd=scratch, env=env, capture_output=True, text=True)
    if done.returncode:
        print(f"  {peer} failed: {' | '.join(done.stderr.strip().splitlines()[-3:])}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def steps_for(seconds: float, pilot: dict) -> int:
    """Steps of cnntrain that fill the warm-up and the time: whole rows of its metrics, at least three."""
    rows = (seconds + WARM_UP_SECONDS) * pilot["images_per_second"] / (10 * BATCH)
    return 10 * max(3, ceil(rows) + 1)


def run(works: dict[str, Work], args: argparse.Namespace, scratch: Path) -> Results:
    """All rounds, each measurement said as it is made."""
    chosen = [name for name, peer in PEERS.items() if peer in args.peers]
    plan = {key: [name for name in chosen if name != "timm" or work.jpeg] for key, work in works.items()}
    results: Results = {key: {name: [] for name in names} for key, names in plan.items()}
    steps = {key: PILOT_STEPS[work.net] for key, work in works.items()}  # of cnntrain
    total, done, start = args.rounds * sum(map(len, plan.values())), 0, time.monotonic()
    for key in works:
        if "cnntrain" in plan[key]:
            print(f"trying out how many steps fill the time: {works[key].title}", file=sys.stderr)
            pilot = measure("cnntrain", works[key], steps[key], scratch)
            steps[key] = steps_for(args.seconds, pilot) if pilot else steps[key]
            start = time.monotonic()
    for number in range(args.rounds):
        for key, names in plan.items():
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                found = measure(PEERS[name], works[key], steps[key] if name == "cnntrain" else args.seconds, scratch)
                results[key][name].append(found)
                done += 1
                left = (time.monotonic() - start) / done * (total - done) / 60
                figure = f"{found['images_per_second']:,.0f} images/s, {found['steps']} steps" if found else "failed"
                print(f"round {number + 1}/{args.rounds} · {works[key].title} · {name}: {figure} · {left:.0f} min left", file=sys.stderr)
    return results


def rows(results: Results) -> Iterator[tuple[str, str, list[str]]]:
    """Work, peer and the table's cells."""
    for key, peers in results.items():
        speeds = {name: [one and one["images_per_second"] for one in found] for name, found in peers.items()}
        for name, found in peers.items():
            against = ratio(speeds["cnntrain"], speeds[name]) if "cnntrain" in speeds and name != "cnntrain" else None
            memory = spread([one and one["memory_mb"] for one in found])
            cells = [*words(spread(speeds[name]), ",.0f"), *words(against, ".2f"), f"{memory.median:,.0f}" if memory else "–"]
            yield key, name, cells


def words(figure: Spread | None, form: str) -> tuple[str, str]:
    """The median, and from the least to the most."""
    return (f"{figure.median:{form}}", f"{figure.least:{form}} – {figure.most:{form}}") if figure else ("–", "")


def machine(results: Results) -> str:
    """Processor, cores, threads and versions, as the peers themselves saw them."""
    seen = [one for peers in results.values() for found in peers.values() for one in found if one]
    names = [line.partition(":")[2].strip() for line in _cpuinfo() if line.startswith("model name")]
    threads = "/".join(sorted({str(one["threads"]) for one in seen}))
    versions = [f"torch {version('torch')}", *sorted({one["version"] for one in seen})]
    cpu = names[0] if names else platform.processor() or platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, {threads} threads, Python {platform.python_version()}, {', '.join(versions)}"


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []


def show(results: Results, works: dict[str, Work], notes: list[str], args: argparse.Namespace) -> None:
    """The table, at 110 columns or in Markdown, and what belongs to it."""
    title = f"Training images/s, batch {BATCH}; median of {args.rounds} × {args.seconds:g} s"
    if args.markdown:
        print(f"{title}. {machine(results)}.\n\n| work | peer | {' | '.join(COLUMNS)} |\n|---|---|{'--:|' * len(COLUMNS)}")
        for key, name, cells in rows(results):
            print(f"| {works[key].title} | {name} | {' | '.join(cells)} |")
        print("\n" + "\n".join(f"- {note}" for note in notes))
        return
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for column in ("work", *COLUMNS):
        table.add_column(column, justify="left" if column == "work" else "right")
    last = None
    for key, name, cells in rows(results):
        if key != last:
            if last:
                table.add_row()
            table.add_row(f"[bold]{works[key].title}")
            last = key
        table.add_row(f"  {name}", *cells)
    console = Console(width=110)
    console.print(table)
    console.print(machine(results), highlight=False)
    for note in notes:
        console.print(f"· {note}", highlight=False)


def main() -> None:
    args = options()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        works, notes = prepare.prepare(args.works, scratch, fashion=args.fashion, cifar=args.cifar)
        results = run(works, args, scratch)
    show(results, works, [*notes, "peak MB: resident memory of the training process, without its data workers (cnntrain has none)"], args)


if __name__ == "__main__":
    main()
