import gzip
import json
import re
from pathlib import Path

import torch

from cnntrain.engine import checkpoint
from cnntrain.engine.profile import TRACE


def test_a_profiled_run_comes_to_the_same_and_tells_where_the_time_went(small):
    words = ["augment=[crop,flip,mixup]", "microbatch=7"]
    small(*words, name="plain"), small(*words, "report.profile=true", name="profiled")
    a, b = (checkpoint.read(f"{name}/last.safetensors") for name in ("plain", "profiled"))
    assert all(torch.equal(a.tensors[name], b.tensors[name]) for name in a.tensors) and a.meta["rows"] == b.meta["rows"]
    assert not Path("plain", TRACE).exists() and "where the time went" not in Path("plain/train.log").read_text()

    with gzip.open(f"profiled/{TRACE}") as file:
        names = [event["name"] for event in json.load(file)["traceEvents"] if event.get("cat") == "user_annotation"]
    assert names.count("forward") == 28 and names.count("backward") == 10, "three parts a step, but one in the epoch's last"
    table = Path("profiled/train.log").read_text().partition("where the time went")[2]
    rows = {name: float(seconds) for name, seconds in re.findall(r"^ ?(\S.*?) +(\d+\.\d\d) +\d+\.\d %", table, flags=re.M)}
    total = rows.pop("training")
    assert {"forward", "backward", "optimizer", "logging", "evaluation", "checkpoint", "data: next batch, augmented ahead"} <= set(rows)
    assert abs(sum(rows.values()) - total) < 0.02 * total + 0.1
    assert rows["other (the loop, sums, average)"] < 0.5 * total
