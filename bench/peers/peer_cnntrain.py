"""cnntrain by its ordinary call, logs, TensorBoard, metrics and checkpoints on; the figures are those of its own metrics.jsonl.

The rows of the warm-up's seconds are left out. ``epochs`` is a number of steps: the driver has tried out how many fill the time.
"""

import json
import tempfile
from pathlib import Path

from work import BATCH, LEARNING_RATE, WARM_UP_SECONDS, given, tell

import cnntrain

EVERY = 10  # steps of a row: report.every's default


def main() -> None:
    work, steps = given()
    data = ["data=folder", f"data.root={work.folder}", "data.image_size=32", "data.val=0", f"data.cache={work.cache}"]
    with tempfile.TemporaryDirectory() as folder:
        run = cnntrain.train(
            f"model={work.net}",
            *(data if work.jpeg else ["data=arrays", f"data.folder={work.folder}"]),
            f"augment={'[crop,flip]' if work.augment else '[]'}",
            f"batch_size={BATCH}",
            f"optimizer.lr={LEARNING_RATE}",
            f"epochs={steps:.0f}it",
            "machine.device=cpu",
            f"--config-dir={Path(__file__).parent / 'conf'}",
            f"hydra.run.dir={folder}/run",
        )
        rows = [json.loads(line) for line in Path(run["folder"], "metrics.jsonl").read_text().splitlines()]
    times = [EVERY * BATCH / row["speed/images_per_second"] for row in rows if "train/loss" in row]
    first = next(n for n in range(1, len(times)) if sum(times[:n]) >= min(WARM_UP_SECONDS, sum(times[:-1])))
    kept = times[first:]
    tell(len(kept) * EVERY * BATCH / sum(kept), len(kept) * EVERY, f"cnntrain {cnntrain.__version__}")


if __name__ == "__main__":
    main()
