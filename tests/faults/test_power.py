"""What a power cut would leave, which no SIGKILL shows: bytes that were written and not made safe are lost, and so are names.

Held to the order of the file operations of a whole run: nothing gets its name before its bytes are on the disk, no checkpoint counts rows
that are not, and the names themselves are safe before the next checkpoint is begun.
"""

import pytest
from faults.disk import Disk, room
from faults.mutate import mutate
from workload import train

RUN = {"epochs": 2, "every": "5it"}  # saves within epochs, and two that are the best so far


def operations_of_a_run() -> list[str]:
    with room() as folder, Disk() as disk:
        train(folder / "run", **RUN)
    return disk.seen


def every_name_stands_for_safe_bytes(operations: list[str]) -> None:
    unsafe: set[str] = set()  # files that were written to since their last fsync
    unsafe_names, saves = False, 0
    for place, operation in enumerate(operations):
        act, _, name = operation.partition(" ")
        if act == "write":
            unsafe.add(name)
        elif act == "fsync" and name == "the folder":
            unsafe_names = False
        elif act == "fsync":
            unsafe.discard(name)
        elif act in ("link", "replace"):
            assert not [one for one in unsafe if one.startswith("new ")], (place, operation)
            assert not (name == "last.safetensors" and "metrics.jsonl" in unsafe), (place, operation)
            unsafe_names = unsafe_names or act == "replace"
            saves += name == "last.safetensors"
        assert not (operation == "open new last.safetensors" and unsafe_names), (place, operation)
    assert saves >= 7 and not unsafe_names and "replace best.safetensors" in operations


def test_nothing_gets_its_name_before_it_is_safe(fault):
    every_name_stands_for_safe_bytes(operations_of_a_run())
    fault("A1", "a power cut at any operation")


STORE, RUNS = "cnntrain.engine.storage:", "cnntrain.engine.run:Run."


BUGS = [
    ("a file is not made safe", STORE + "write_whole", "os.fsync(file.fileno())", "pass"),
    ("its folder is, in its place", STORE + "write_whole", "            os.fsync(file.fileno())", "        sync_folder(path.parent)"),
    ("its name is not", STORE + "write_whole", "sync_folder(path.parent)", "pass"),
    ("the rows are not", "cnntrain.engine.saving:Saving.save", "self.run.sync()", "self.run.flush()"),
    ("the rows are written only", RUNS + "sync", "os.fsync(self._append().fileno())", "self._append()"),
]


@pytest.mark.parametrize(("what", "place", "old", "new"), BUGS, ids=[bug[0] for bug in BUGS])
def test_it_would_be_found(monkeypatch, fault, what, place, old, new):
    mutate(monkeypatch, place, old, new)
    with pytest.raises(AssertionError):
        every_name_stands_for_safe_bytes(operations_of_a_run())
    fault("A1", what)
