import threading
from pathlib import Path

import pytest

from cnntrain.data import storage
from cnntrain.data.storage import available_memory, cache_folder, locked, make_folder, usable_cores
from cnntrain.errors import DataError


def test_the_cache_honours_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("data", "mnist") == tmp_path / "cnntrain" / "data" / "mnist"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    assert cache_folder() == Path.home() / ".cache" / "cnntrain"


def test_a_folder_that_cannot_be_made_is_a_data_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot make the folder .*data.cache=DIR"):
        make_folder(tmp_path / "file" / "below", key="data.cache")


def test_memory_is_limited_by_the_control_group(monkeypatch):
    assert available_memory() > 1 << 20 and usable_cores() >= 1
    monkeypatch.setattr(storage, "_number", {"/sys/fs/cgroup/memory.max": 5000, "/sys/fs/cgroup/memory.current": 1000}.get)
    assert available_memory() == 4000


def _add_one(folder: Path, times: int) -> None:
    for _ in range(times):
        with locked(folder / ".lock", key="data.root"):
            number = int((folder / "number").read_text())
            (folder / "number").write_text(str(number + 1))


def test_the_lock_is_held_by_one_at_a_time(tmp_path):
    (tmp_path / "number").write_text("0")
    # flock holds between open files, so between threads as between processes.
    others = [threading.Thread(target=_add_one, args=(tmp_path, 50)) for _ in range(2)]
    for other in others:
        other.start()
    for other in others:
        other.join()
    assert (tmp_path / "number").read_text() == "100"
