"""Bugs in the code of checkpoints, of resuming and of loading data, each of which one of these oracles must find."""

import functools

import pytest
import torch
from data.pictures import make_folder
from faults.mutate import mutate
from workload import Killed, fingerprint, train

from cnntrain.data.folder import folder as pictures
from cnntrain.data.names import Names
from cnntrain.data.split import Split
from cnntrain.engine import checkpoint, storage
from cnntrain.engine.clock import Clock
from cnntrain.engine.inputs import Normalise
from cnntrain.errors import CheckpointError


def resumed_exactly(folder, **options):
    """Killed in the first and in the second epoch; all that is drawn, averaged, counted and judged goes on."""
    options = {"optimizer": "fused_adamw", "average": "ema", "epochs": 2, "every": "3it", **options}
    train(folder / "whole", **options)
    for place in (5, 22):
        with pytest.raises(Killed):
            train(folder / "cut", kill_at=place, **options)
        assert checkpoint.read(folder / "cut" / "last.safetensors").meta["step"] in (3, 20)
    train(folder / "cut", **options)
    assert fingerprint(folder / "whole") == fingerprint(folder / "cut")
    bests = [checkpoint.read(folder / name / "best.safetensors").meta for name in ("whole", "cut")]
    assert bests[0]["step"] == bests[1]["step"] == bests[0]["best"]["best_step"]


def resumed_exactly_with_swa(folder):
    resumed_exactly(folder, average="swa", optimizer="sgd")


def resumed_exactly_in_half_precision(folder):
    with pytest.MonkeyPatch.context() as patch:  # a scale that moves within these few steps
        patch.setattr(torch.amp, "GradScaler", functools.partial(torch.amp.GradScaler, init_scale=8.0, growth_interval=7))
        resumed_exactly(folder, precision="fp16", optimizer="sgd", average="none")


def files_are_what_was_written(folder):
    """Every kind of tensor comes back; any flipped bit is found; what was there before stays until the new one is whole."""
    source = torch.Generator().manual_seed(0)
    whole = torch.randn(4, 6, generator=source)
    tensors = {
        "weight": torch.randn(3, 2, 4, 4, generator=source).to(memory_format=torch.channels_last),
        "whole": whole, "tied": whole, "row": whole[0], "turned": whole.t(), "empty": torch.zeros(0, 3),
        "half": torch.randn(5, generator=source).bfloat16(), "count": torch.tensor(7), "mask": torch.tensor([True, False]),
    }  # fmt: skip
    last, previous, best = (folder / f"{name}.safetensors" for name in ("last", "previous", "best"))
    checkpoint.write(last, tensors, {"step": 1}, keep=previous)
    found = checkpoint.read(last)
    assert found.tensors.keys() == tensors.keys() and found.meta["step"] == 1
    for name, value in tensors.items():
        assert found.tensors[name].dtype == value.dtype and torch.equal(found.tensors[name], value), name
    assert found.tensors["tied"].data_ptr() == found.tensors["whole"].data_ptr()
    data = bytearray(last.read_bytes())
    for at in range(3, len(data), max(len(data) // 60, 1)):
        data[at] ^= 4
        (folder / "flipped").write_bytes(data)
        data[at] ^= 4
        with pytest.raises(CheckpointError):
            checkpoint.read(folder / "flipped")
    checkpoint.write(last, tensors, {"step": 2}, keep=previous, also=best)
    assert [checkpoint.read(path).meta["step"] for path in (last, previous, best)] == [2, 1, 2]
    assert checkpoint.read_newest(folder)[0].meta["step"] == 2 and checkpoint.read_newest(folder)[1] == []

    def fails(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        storage.write_whole(last, fails)
    assert checkpoint.read(last).meta["step"] == 2
    last.write_bytes(bytes(data[:-1]))
    newest, remarks = checkpoint.read_newest(folder)
    assert newest.meta["step"] == 1 and len(remarks) == 1


def steps_are_counted_right(folder):
    clock = Clock(num_samples=50, batch_size=7, epochs="25it")  # 7 steps an epoch, and one sample that is left out
    assert (clock.steps_per_epoch, clock.total, clock.num_epochs) == (7, 25, 4)
    assert [(clock.start(epoch), clock.stop(epoch)) for epoch in range(4)] == [(0, 7), (7, 14), (14, 21), (21, 25)]
    assert [clock.steps(value) for value in (0, 0.01, "3it", 1.5, "10%", "1%")] == [0, 1, 3, 10, 2, 1]
    assert Clock(num_samples=51, batch_size=7, epochs=2).steps_per_epoch == 8
    state = train(folder / "run", epochs="20it")
    assert (state.step, state.epoch) == (20, 2)


def pictures_come_with_their_own_labels(folder):
    """Of a part in memory, of a part of a part, and of files, with names: every picture tells who it is by its pixels."""
    numbers = torch.arange(40)
    whole = Split(
        numbers.to(torch.uint8)[:, None, None, None].repeat(1, 1, 2, 2), numbers % 7, names=Names.of(f"{k}.png" for k in range(40))
    )
    part = whole.subset(torch.tensor([30, 5, 7, 11, 39, 2])).subset(torch.tensor([4, 0, 3]))
    images, labels, index = next(iter(part.fetch([torch.tensor([2, 0])])))
    assert images[:, 0, 0, 0].tolist() == [11, 39] and labels.tolist() == [11 % 7, 39 % 7] and index.tolist() == [2, 0]
    assert list(part.names) == ["39.png", "30.png", "11.png"] and part.names[1] == "30.png"
    root = make_folder(folder / "pets", {"train/a": 4, "train/b": 3, "val/a": 2, "val/b": 2}, size=6)
    how = {"root": str(root), "image_size": 6, "cache": str(folder / "cache"), "seed": 0}
    resident, streamed = (pictures(residency=kind, workers=0, **how) for kind in ("resident", "streamed"))
    order = [torch.tensor([6, 0, 3]), torch.tensor([5, 1])]
    for mine, theirs in zip(resident.train.fetch(order), streamed.train.fetch(order), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(mine, theirs, strict=True))
        assert mine[1].tolist() == [
            int(resident.train.names[int(row)].startswith("train/b") or resident.train.names[int(row)].startswith("b")) for row in mine[2]
        ]
    assert len({images.sum().item() for batch in streamed.train.fetch(order) for images in batch[0]}) == 5
    normalise = Normalise([0.25], [0.5], device=torch.device("cpu"), memory_format=torch.channels_last)
    for size in (2, 3):
        assert torch.allclose(normalise(torch.full((1, 1, size, size), 255, dtype=torch.uint8)), torch.tensor(1.5))
        assert torch.allclose(normalise(torch.full((1, 1, size, size), 1.0)), torch.tensor(1.5))


R, SWA, HALF = resumed_exactly, resumed_exactly_with_swa, resumed_exactly_in_half_precision
F, C, L = files_are_what_was_written, steps_are_counted_right, pictures_come_with_their_own_labels
ORACLES = (R, SWA, HALF, F, C, L)
STATE, FILE, STORE = "cnntrain.engine.state:State.", "cnntrain.engine.checkpoint:", "cnntrain.engine.storage:"
MUTANTS = [
    (R, "dropout's generator is not restored", STATE + "_restore", 'torch.set_rng_state(tensors["generator.cpu"])', "pass"),
    (R, "the optimizer is not restored", STATE + "_restore", "self._restore_optimizer(tensors)", "pass"),
    (R, "the running sums are not restored", STATE + "_restore", 'sums.copy_(tensors[f"sums.{name}"])', "pass"),
    (R, "the best is not restored", STATE + "_restore", 'self.judge.restore(meta["best"])', "pass"),
    (R, "one step is left out", STATE + "_restore", 'meta["step"], meta["epoch"], meta', 'meta["step"] + 1, meta["epoch"], meta'),
    (R, "the epoch is done again", STATE + "_restore", 'meta["epoch"], meta["metrics"]', '0, meta["metrics"]'),
    (R, "the average is the trained model", STATE + "_restore", "judged_prefix(tensors)", '"model."'),
    (R, "the average begins anew", STATE + "_restore", "if self.average.model is not self.model:", "if False:"),
    (
        R,
        "the state has lost its memory format",
        STATE + "_restore_optimizer",
        "torch.empty_like(parameter, dtype=value.dtype, memory_format=torch.preserve_format)",
        "torch.empty_like(value)",
    ),
    (R, "no second moments in the file", STATE + "tensors", "if value is not None}", 'if key != "exp_avg_sq"}'),
    (R, "no step count in the file", STATE + "tensors", "if value is not None}", 'if key != "step"}'),
    (R, "no batch norm in the file", STATE + "tensors", "self.model.state_dict().items()", "self.model.named_parameters()"),
    (R, "rows are not cut back", "cnntrain.engine.run:Run._cut", "[:rows]", ""),
    (R, "a row too few is kept", "cnntrain.engine.run:Run._cut", "[:rows]", "[: max(rows - 1, 0)]"),
    (R, "rows are not counted", "cnntrain.engine.run:Run.row", "self.rows += 1", "pass"),
    (R, "best is not kept", "cnntrain.engine.saving:Saving.save", "also=top if best else None", "also=None"),
    (R, "best is every save", "cnntrain.engine.saving:Saving.save", "also=top if best else None", "also=top"),
    (
        SWA,
        "the mean has forgotten of how many",
        "cnntrain.engine.average:Swa.go_to",
        "max(step - self.start, 0) // self.every",
        "min(self._count + 1, 2)",
    ),
    (HALF, "the loss scale is not restored", STATE + "_restore", 'if self.scaler.is_enabled() and meta["scaler"]:', "if False:"),
    (F, "the sum is not looked at", FILE + "_read", "if found != noted:", "if False:"),
    (
        F,
        "the header is not summed",
        FILE + "_read",
        "hashlib.sha256(start + text[:at] + _BLANK.encode() + text[at + 64 :])",
        "hashlib.sha256()",
    ),
    (F, "the tensors are not summed", FILE + "_read", "digest.update(part)", "pass"),
    (F, "the sum is of another part", FILE + "write", "(digest.update, part)", "(digest.update, part if len(part) != 8 else b'')"),
    (F, "views are taken for tied", FILE + "_without_aliases", "tensor.dtype, tensor.shape, tensor.stride())", "tensor.dtype)"),
    (F, "turned tensors are taken for tied", FILE + "_without_aliases", "tensor.shape, tensor.stride())", "tensor.numel())"),
    (F, "tied tensors are stored twice", FILE + "_without_aliases", "if tensor.numel() and place in seen:", "if False:"),
    (F, "as float32, whatever they were", FILE + "_bytes", "tensor.detach().to", "tensor.detach().float().to"),
    (
        F,
        "the older one is the newest",
        FILE + "read_newest",
        '("last.safetensors", "previous.safetensors")',
        '("previous.safetensors", "last.safetensors")',
    ),
    (F, "only last is looked at", FILE + "read_newest", '("last.safetensors", "previous.safetensors")', '("last.safetensors",)'),
    (F, "nothing is said of the damaged one", FILE + "read_newest", 'remarks.append(f"{error.what}; passed over")', "pass"),
    (F, "no previous", STORE + "write_whole", "if keep is not None and path.exists():", "if False:"),
    (F, "no best", STORE + "write_whole", "if also is not None:", "if False:"),
    (F, "written in place", STORE + "write_whole", 'open(temporary, "wb")', 'open(path, "wb")'),
    (
        C,
        "the run goes on to the epoch's end",
        "cnntrain.engine.clock:Clock.stop",
        "min((epoch + 1) * self.steps_per_epoch, self.total)",
        "(epoch + 1) * self.steps_per_epoch",
    ),
    (
        C,
        "an epoch begins one step late",
        "cnntrain.engine.clock:Clock.start",
        "epoch * self.steps_per_epoch",
        "epoch * self.steps_per_epoch + (epoch > 0)",
    ),
    (C, "durations are cut, not rounded", "cnntrain.engine.clock:Clock.steps", "max(round(steps), 1)", "int(steps)"),
    (C, "the single sample is a batch", "cnntrain.engine.clock:Clock.__init__", "leftover > 1", "leftover > 0"),
    (C, "the smaller last batch is left out", "cnntrain.engine.clock:Clock.__init__", "(leftover > 1 or leftover == batch_size)", "0"),
    (
        L,
        "the rows of the whole set",
        "cnntrain.data.split:Split.fetch",
        "index if self.rows is None else self.rows.index_select(0, index)",
        "index",
    ),
    (
        L,
        "labels in another order",
        "cnntrain.data.split:Split.fetch",
        "self.rows.index_select(0, index))\n        yield images, self.labels.index_select(0, index), index",
        "self.rows.index_select(0, index))\n        yield images, self.labels[: len(index)], index",
    ),
    (
        L,
        "a part of a part is a part of the whole",
        "cnntrain.data.split:Split.subset",
        "index if self.rows is None else self.rows[index]",
        "index",
    ),
    (L, "the labels are not those of the part", "cnntrain.data.split:Split.subset", "self.labels[index]", "self.labels[: len(index)]"),
    (
        L,
        "the names are not those of the part",
        "cnntrain.data.names:Names.subset",
        "np.asarray(self._rows)[np.asarray(index)]",
        "np.asarray(index)",
    ),
    (
        L,
        "a name begins with the end of the one before",
        "cnntrain.data.names:Names.__getitem__",
        "self._ends[row - 1] + 1",
        "self._ends[row - 1]",
    ),
    (L, "a streamed batch is its last picture", "cnntrain.data.streamed:Pictures.__getitems__", "batch[place], _ =", "batch[:], _ ="),
    (L, "bytes are divided by 256", "cnntrain.engine.inputs:Normalise.__init__", "1 / (255 * spread)", "1 / (256 * spread)"),
    (L, "the mean is added", "cnntrain.engine.inputs:Normalise.__init__", "-centre / spread", "centre / spread"),
]


@pytest.mark.parametrize("oracle", ORACLES, ids=lambda oracle: oracle.__name__)
def test_the_code_as_it_is(tmp_path, oracle):
    oracle(tmp_path)


def mutants():
    for oracle, name, *change in MUTANTS:
        marks = [pytest.mark.slow] if oracle in (R, SWA, HALF) else []  # whole runs; a few of these are quick
        yield pytest.param(oracle, change, marks=marks[: "restored" not in name], id=name)


@pytest.mark.parametrize(("oracle", "change"), list(mutants()))
def test_the_bug_is_found(tmp_path, monkeypatch, fault, oracle, change, request):
    mutate(monkeypatch, *change)
    with pytest.raises((AssertionError, LookupError, CheckpointError, RuntimeError, pytest.fail.Exception, ValueError, OSError, TypeError)):
        oracle(tmp_path)
    fault("H13", request.node.callspec.id)


def test_there_are_enough_of_them():
    assert len(MUTANTS) >= 40 and len({tuple(change) for _, _, *change in MUTANTS}) == len(MUTANTS)
