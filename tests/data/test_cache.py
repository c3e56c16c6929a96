import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from data.pictures import make_folder, noise, save

from cnntrain.data import cache, decoding
from cnntrain.data.cache import examine, remember
from cnntrain.data.decode import Rules, decode, pillow_rules
from cnntrain.data.scan import scan
from cnntrain.errors import DataError

RULES = Rules(8)
HOME = Path(cache.__file__).parents[2]


@pytest.fixture
def root(tmp_path):
    return make_folder(tmp_path / "pictures", {"a": 3, "b": 2})


@pytest.fixture
def decoded(monkeypatch):
    names = []

    def counting(path, rules):
        names.append(os.path.basename(path))
        return decode(path, rules)

    monkeypatch.setattr(decoding, "decode", counting)
    return names


def look(root, tmp_path, *, rules=RULES, keep=True, workers=0):
    return examine(scan(root).parts["train"], rules, folder=tmp_path / "cache", keep=keep, workers=workers)


def expected(root) -> np.ndarray:
    with pillow_rules():
        return np.stack([decode(root / name, RULES)[0] for name in scan(root).parts["train"].files])


def test_pictures_are_decoded_once_and_mapped_afterwards(root, tmp_path, decoded):
    for _ in range(2):
        found = look(root, tmp_path)
        assert np.array_equal(found.pixels, expected(root)) and isinstance(found.pixels, np.memmap)
    assert len(decoded) == 5
    assert sorted(path.suffix for path in (tmp_path / "cache").iterdir()) == [".json", ".lock", ".npy"]


def test_writing_to_the_pixels_does_not_reach_the_file(root, tmp_path):
    look(root, tmp_path).pixels[:] = 0
    assert np.array_equal(look(root, tmp_path).pixels, expected(root))


@pytest.mark.parametrize("change", ["add", "remove", "touch", "grow", "rename"])
def test_a_changed_folder_is_decoded_again(root, tmp_path, decoded, change):
    look(root, tmp_path)
    if change == "add":
        save(root / "b" / "7.png", noise(seed=99))
    elif change == "remove":
        (root / "a" / "1.png").unlink()
    elif change == "touch":
        os.utime(root / "a" / "1.png", ns=(1, 1))
    elif change == "grow":
        status = (root / "a" / "1.png").stat()
        save(root / "a" / "1.png", noise(16, 16))
        os.utime(root / "a" / "1.png", ns=(status.st_atime_ns, status.st_mtime_ns))
    else:
        (root / "a" / "1.png").rename(root / "a" / "8.png")
    decoded.clear()
    assert np.array_equal(look(root, tmp_path).pixels, expected(root)) and len(decoded) >= 4


def test_other_rules_have_pixels_of_their_own(root, tmp_path, decoded):
    for rules in (RULES, Rules(4), Rules(8, "crop"), Rules(8, channels=1), Rules(8, max_pixels=9)):
        look(root, tmp_path, rules=rules)
    assert len(decoded) == 25
    look(root, tmp_path)
    assert len(decoded) == 25


@pytest.mark.parametrize("damage", ["no note", "bad note", "no pixels", "cut pixels"])
def test_a_damaged_cache_is_made_again(root, tmp_path, damage):
    look(root, tmp_path)
    store = next((tmp_path / "cache").glob("*.npy"))
    if "note" in damage:
        store.with_suffix(".json").write_text("[1" if damage == "bad note" else "")
    else:
        store.write_bytes(store.read_bytes()[: 150 if damage == "cut pixels" else 0])
    assert np.array_equal(look(root, tmp_path).pixels, expected(root))


def test_a_killed_build_leaves_nothing_that_counts(root, tmp_path, monkeypatch):
    look(root, tmp_path)
    save(root / "b" / "7.png", noise(seed=99))

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(cache, "decode_all", killed)
        with pytest.raises(KeyboardInterrupt):
            look(root, tmp_path)
    assert not list((tmp_path / "cache").glob("*partial*"))
    (root / "b" / "7.png").unlink()
    assert np.array_equal(look(root, tmp_path).pixels, expected(root))


def test_a_kill_between_pixels_and_note_leaves_no_note_of_older_pixels(root, tmp_path, monkeypatch):
    look(root, tmp_path)
    (root / "b" / "1.png").rename(root / "a" / "0a.png")  # as many pictures, in another order
    replace = os.replace

    def killed(source, target):
        if str(target).endswith(".json"):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            look(root, tmp_path)
    (root / "a" / "0a.png").rename(root / "b" / "1.png")
    assert np.array_equal(look(root, tmp_path).pixels, expected(root))


def test_unreadable_pictures_are_known_without_reading_again(root, tmp_path, decoded):
    (root / "a" / "1.png").write_bytes(b"")
    for _ in range(2):
        found = look(root, tmp_path)
        assert found.unreadable == {1: "an empty file"}
        assert np.array_equal(found.pixels[4], noise(seed=5).transpose(2, 0, 1))
    assert len(decoded) == 5


def test_a_check_alone_keeps_no_pixels(root, tmp_path, decoded):
    (root / "a" / "1.png").write_bytes(b"")
    for _ in range(2):
        found = look(root, tmp_path, keep=False)
        assert found.pixels is None and list(found.unreadable) == [1]
    assert len(decoded) == 5 and not list((tmp_path / "cache").glob("*.npy"))


def test_processes_give_the_same_pixels_as_none(root, tmp_path, monkeypatch):
    (root / "b" / "1.png").write_bytes(b"no picture")
    plain = look(root, tmp_path)
    monkeypatch.setattr(decoding, "FEW", 0)
    monkeypatch.setattr(decoding, "CHUNK", 2)
    shared = examine(scan(root).parts["train"], RULES, folder=tmp_path / "other", keep=True, workers=2)
    assert np.array_equal(shared.pixels, plain.pixels) and shared.unreadable == plain.unreadable == {4: plain.unreadable[4]}


def test_what_was_computed_of_a_part_is_remembered_until_it_changes(root, tmp_path):
    computed = []

    def mean():
        computed.append(1)
        return [0.1, 1 / 3]

    def ask(what):
        return remember(what, mean, part=scan(root).parts["train"], rules=RULES, folder=tmp_path / "cache")

    assert ask("mean") == ask("mean") == [0.1, 1 / 3] and len(computed) == 1
    ask("mean by another seed")
    assert len(computed) == 2
    os.utime(root / "a" / "1.png", ns=(1, 1))
    assert ask("mean") == [0.1, 1 / 3] and len(computed) == 3


BUILD = """
import os, sys, time
from pathlib import Path
from cnntrain.data import cache, decoding
from cnntrain.data.decode import Rules, decode
from cnntrain.data.scan import scan
def slowly(path, rules):
    print(os.path.basename(path), flush=True)
    time.sleep(float(sys.argv[3]))
    return decode(path, rules)
decoding.decode = slowly
found = cache.examine(scan(Path(sys.argv[1])).parts["train"], Rules(8), folder=Path(sys.argv[2]), keep=True, workers=0)
print("sum", int(found.pixels.astype(int).sum()))
"""


def build(root, tmp_path, *, pause: float) -> subprocess.Popen:
    command = [sys.executable, "-c", BUILD, str(root), str(tmp_path / "cache"), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HOME)


def test_two_runs_at_once_decode_once(root, tmp_path):
    both = [build(root, tmp_path, pause=0.05) for _ in range(2)]
    lines = [one.communicate(timeout=60)[0].split("\n") for one in both]
    assert sorted(line for each in lines for line in each if line.endswith(".png")) == ["0.png", "0.png", "1.png", "1.png", "2.png"]
    assert all(f"sum {expected(root).astype(int).sum()}" in each for each in lines)


def test_a_run_killed_while_it_decodes_leaves_nothing_that_counts(root, tmp_path, decoded):
    with build(root, tmp_path, pause=60) as run:
        assert run.stdout.readline() == "0.png\n"
        run.kill()
    assert [path.name for path in (tmp_path / "cache").glob("*.partial.npy")], "it was in the middle of it"
    assert np.array_equal(look(root, tmp_path).pixels, expected(root)) and len(decoded) == 5
    assert not list((tmp_path / "cache").glob("*.partial.npy"))


def test_a_full_disk_is_a_data_error_with_a_fix(root, tmp_path, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match="No space left on device.*data.cache=DIR"):
        look(root, tmp_path)
    assert not list((tmp_path / "cache").glob("*.npy"))


def test_the_note_says_in_words_what_it_belongs_to(root, tmp_path):
    look(root, tmp_path)
    note = json.loads(next((tmp_path / "cache").glob("*.json")).read_text())
    assert note["root"] == str(root) and note["rules"]["image_size"] == 8


ORPHANS = """
import sys, time
from pathlib import Path
from cnntrain.data import cache, decoding
from cnntrain.data.decode import Rules
from cnntrain.data.scan import scan
decoding.FEW, decoding.CHUNK = 0, 1
decoding.decode = lambda path, rules: (print(__import__("os").getpid(), flush=True), time.sleep(1 if "1" in path else 0.01), (0, False))[2]
cache.examine(scan(Path(sys.argv[1])).parts["train"], Rules(8), folder=Path(sys.argv[2]), keep=True, workers=2)
"""


def test_decoding_processes_end_with_a_killed_parent(root, tmp_path):
    command = [sys.executable, "-c", ORPHANS, str(root), str(tmp_path / "cache")]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HOME)
    with parent:
        assert int(parent.stdout.readline())  # a child is at work
        parent.kill()
        started = time.monotonic()
        parent.stdout.read()  # to its end, which comes when every process that has it open is gone
        assert time.monotonic() - started < 10
    assert np.array_equal(look(root, tmp_path).pixels, expected(root))
