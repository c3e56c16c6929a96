"""SIGKILL outside of the training loop: no half file bears its final name, and the same command again is enough."""

import hashlib
import os
import signal
import time
from pathlib import Path

import pytest
from data.pictures import make_folder
from data.server import BODY, serve
from faults import forked
from faults.disk import KILL, TORN, Disk, room
from faults.remains import everything, leftovers
from PIL import Image

from cnntrain import cli

KILLED = 128 + signal.SIGKILL
SMALL = (
    "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=60 data.test_samples=20 data.classes=3 epochs=2 "
    "batch_size=16 machine.threads=1 report.progress=off report.tensorboard=false"
).split()


@pytest.fixture(scope="module", autouse=True)
def imported():
    """What every process of this module would import."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.image  # noqa: F401
    import sympy  # noqa: F401
    import tensorboard.compat.proto.summary_pb2  # noqa: F401
    import torch.utils.tensorboard  # noqa: F401

    from cnntrain.task import evaluate, lr_find, predict, resume, train  # noqa: F401


@pytest.fixture
def folders(monkeypatch):
    with room() as folder:
        monkeypatch.chdir(folder)
        monkeypatch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def command(*words, dying=None) -> forked.Ended:
    """A command in a process of its own; ``dying`` is entered in it before."""

    def work():
        if dying is not None:
            dying()
        return cli.main(list(words))

    return forked.run(work, Path("console"), timeout=120)


def dies_in(name: str, at: int):
    """Let the process die in its ``at``-th call of a function of ``os``."""

    def patch():
        real, calls = getattr(os, name), []

        def dying(*arguments, **named):
            calls.append(1)
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        setattr(os, name, dying)

    return patch


def at_operation(at: int | str, trouble: str = KILL):
    return lambda: Disk(at, trouble).__enter__()


def operations_of(*words) -> list[str]:
    """What a command does on the disk, when nothing disturbs it."""

    def work():
        disk = Disk().__enter__()
        code = cli.main(list(words))
        Path("operations").write_text("\n".join(disk.seen))
        return code

    ended = forked.run(work, Path("console"), timeout=120)
    assert ended.code == 0, ended.output
    return Path("operations").read_text().splitlines()


def test_a_kill_in_a_prediction_leaves_the_table_that_was_there(folders, fault):
    assert command("train", *SMALL, "hydra.run.dir=run").code == 0
    make_folder(folders / "pictures", {"a": 3}, size=16)
    words = ["predict", "checkpoint=run/best.safetensors", "images=pictures/a", "out=table.csv", "machine.device=cpu"]
    operations = operations_of(*words)
    whole = Path("table.csv").read_text()
    assert whole.count("\n") == 4 and "fsync new table.csv" in operations
    for at, operation in enumerate(operations, 1):
        for trouble in [KILL, TORN] if operation.startswith("write") else [KILL]:
            Path("table.csv").write_text("the old one")
            assert command(*words, dying=at_operation(at, trouble)).code == KILLED
            assert Path("table.csv").read_text() in ("the old one", whole)
            fault("A6", f"{trouble} in predict at {operation}")
    assert command(*words).code == 0 and Path("table.csv").read_text() == whole


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operation", "trouble"), [("replace lr_find.png", KILL), ("write new lr_find.png", TORN), ("replace status.json", KILL)]
)
def test_a_kill_in_a_range_test(folders, fault, operation, trouble):
    words = ["lr_find", *(word for word in SMALL if not word.startswith(("epochs", "report"))), "steps=30it"]
    assert command(*words, "hydra.run.dir=run", dying=at_operation(operation, trouble)).code == KILLED
    assert not Path("run/lr_find.png").exists()
    ended = command("resume", "run=run")
    assert ended.code == 0, ended.output
    assert _is_picture(Path("run/lr_find.png")) and not leftovers(Path("run"))
    again = command("resume", "run=run")
    assert again.code == 0 and "already done" in again.output
    fault("A6", f"{trouble} in lr_find at {operation}")


def _is_picture(path: Path) -> bool:
    with Image.open(path) as picture:
        return picture.convert("RGB").size == (960, 600)


@pytest.mark.slow
def test_a_kill_in_and_after_the_search_for_a_learning_rate(folders, fault):
    words = ["train", *SMALL, "optimizer.lr=auto"]
    assert command(*words, "hydra.run.dir=whole").code == 0

    def in_the_test():
        from cnntrain.task import lr_find

        lr_find.range_test = lambda **given: os.kill(os.getpid(), signal.SIGKILL)

    def after_it():
        from cnntrain.task import train

        real = train.settled
        train.settled = lambda *given, **named: (real(*given, **named), os.kill(os.getpid(), signal.SIGKILL))

    for name, dying in {"in": in_the_test, "after": after_it}.items():
        assert command(*words, f"hydra.run.dir={name}", dying=dying).code == KILLED
        assert ("lr: auto" in Path(f"{name}/config.yaml").read_text()) == (name == "in")
        ended = command("resume", f"run={name}")
        assert ended.code == 0 and "starting again from its config.yaml" in ended.output
        assert everything(Path(name)) == everything(Path("whole"))
        fault("A6", f"SIGKILL {name} the range test of optimizer.lr=auto")


def test_a_kill_before_the_first_save_and_in_the_last_evaluation(folders, fault):
    assert command("train", *SMALL, "hydra.run.dir=whole").code == 0

    def before_the_data():
        from cnntrain.data import synthetic

        synthetic.synthetic = lambda **given: os.kill(os.getpid(), signal.SIGKILL)

    def in_the_test_set():
        from cnntrain.task import outcome

        outcome.load_weights = lambda *given, **named: os.kill(os.getpid(), signal.SIGKILL)

    for name, dying in {"before the data are made": before_the_data, "before the test set": in_the_test_set}.items():
        run = Path(name.replace(" ", "_"))
        assert command("train", *SMALL, f"hydra.run.dir={run}", dying=dying).code == KILLED
        refused = command("train", *SMALL, f"hydra.run.dir={run}")
        assert refused.code == 4 and f"Fix: cnntrain resume run={run}" in refused.output
        ended = command("resume", f"run={run}")
        assert ended.code == 0, ended.output
        assert everything(run) == everything(Path("whole")) and not leftovers(run)
        fault("A6", f"SIGKILL {name}")


SLOW_POINTS = [pytest.param(point, marks=pytest.mark.slow) for point in ("replace 1", "replace 2", "posix_fallocate 1")]


@pytest.mark.parametrize("point", ["a picture", *SLOW_POINTS])
def test_a_kill_while_pictures_are_decoded_into_the_cache(folders, fault, point):
    make_folder(folders / "pets", {"cat": 8, "dog": 8}, size=16)
    words = [
        *("train model=lenet5 data=folder data.root=pets data.image_size=16 data.workers=0 batch_size=4 epochs=1".split()),
        "machine.threads=1", "report.progress=off", "report.tensorboard=false",
    ]  # fmt: skip
    assert command(*words, "hydra.run.dir=whole", "data.cache=other").code == 0

    def in_a_picture():
        from PIL import Image

        real, calls = Image.open, []

        def dying(*given, **named):
            calls.append(1)
            if len(calls) == 7:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*given, **named)

        Image.open = dying

    name, _, at = point.partition(" ")
    cache_only = dies_in_cache(name, int(at)) if at.isdigit() else in_a_picture
    assert command(*words, "hydra.run.dir=run", "data.cache=cache", dying=cache_only).code == KILLED
    assert command("resume", "run=run").code == 0
    assert everything(Path("run")) == everything(Path("whole"))
    same = {path.suffix: path.read_bytes() for path in Path("cache").rglob("*.npy")}
    assert same == {path.suffix: path.read_bytes() for path in Path("other").rglob("*.npy")} and same
    assert not [path for path in Path("cache").rglob("*partial*")]
    fault("A6", f"SIGKILL while pictures are decoded, in {point}")


def dies_in_cache(name: str, at: int):
    """As :func:`dies_in`, counting only what happens below the cache."""

    def patch():
        real, calls = getattr(os, name), []

        def dying(*arguments, **named):
            where = str(arguments[0]) if not isinstance(arguments[0], int) else os.readlink(f"/proc/self/fd/{arguments[0]}")
            calls.extend([1] if "/cache/" in f"/{where}" else [])
            if len(calls) == at:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **named)

        setattr(os, name, dying)

    return patch


def test_a_kill_in_a_download(folders, fault):
    from cnntrain.data.download import Remote, obtain

    with serve() as server:
        remote = Remote("set.bin", len(BODY), hashlib.md5(BODY).hexdigest(), (f"{server.url}/good/set.bin",))
        for place in ("in the transfer", "before the rename"):
            folder = folders / place.replace(" ", "_")

            def work(place=place, folder=folder):
                from cnntrain.data import download

                if place == "in the transfer":
                    real, seen = download._write, []

                    def dying(out, block, where):
                        real(out, block, where)
                        seen.append(1)
                        if len(seen) == 2:
                            os.kill(os.getpid(), signal.SIGKILL)

                    download._write = dying
                else:
                    dies_in("replace", 1)()
                obtain([remote], folder)

            assert forked.run(work, folders / "console").code == KILLED
            assert not (folder / "set.bin").exists()
            server.asked.clear()
            assert obtain([remote], folder).read_bytes() == BODY
            # what was brought is not fetched again
            assert not server.asked if place == "before the rename" else server.asked[0][1] > 0
            assert sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")) == ["set.bin"]
            fault("A6", f"SIGKILL in a download, {place}")


def test_data_workers_end_with_a_killed_run(folders, fault):
    make_folder(folders / "pets", {"cat": 20, "dog": 20}, size=16)
    words = [
        *("train model=lenet5 data=folder data.root=pets data.image_size=16 data.workers=2 data.residency=streamed batch_size=4".split()),
        "epochs=500", "machine.threads=1", "report.progress=off", "report.tensorboard=false", "hydra.run.dir=run", "data.cache=cache",
    ]  # fmt: skip
    child = forked.start(lambda: cli.main(words), folders / "console")
    end = time.monotonic() + 60
    while not Path("run/last.safetensors").exists() or len(session(child.pid)) < 3:  # the run and its two workers, of each epoch
        assert time.monotonic() < end, (folders / "console").read_text()
        time.sleep(0.002)
    child.send(signal.SIGKILL)
    child.wait()
    end = time.monotonic() + 10
    while session(child.pid) and time.monotonic() < end:
        time.sleep(0.05)
    assert not session(child.pid)
    fault("A5", "workers of a killed run")


def session(leader: int) -> list[str]:
    """The processes of a session that are alive."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                state, _, _, sid = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
            except (OSError, ValueError):
                continue  # it has just ended
            if int(sid) == leader and state != "Z":
                found.append(entry.name)
    return found
