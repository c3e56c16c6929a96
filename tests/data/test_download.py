import hashlib
import os
import threading

import pytest
from data.server import BODY, serve

from cnntrain.data.download import Remote, obtain
from cnntrain.errors import DataError

MD5 = hashlib.md5(BODY).hexdigest()


@pytest.fixture
def server():
    with serve() as running:
        yield running


def remote(server, *ways: str, md5: str = MD5) -> Remote:
    return Remote("set.bin", len(BODY), md5, tuple(f"{server.url}/{way}/set.bin" for way in ways))


def visible(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_file_is_fetched_once_and_then_found(server, tmp_path):
    for _ in range(2):
        assert obtain([remote(server, "good")], tmp_path / "new").read_bytes() == BODY
    assert len(server.asked) == 1 and visible(tmp_path / "new") == ["set.bin"]


@pytest.mark.parametrize("bad", ["missing", "page", "short", "other", "norange"])
def test_the_next_source_is_tried(server, tmp_path, bad):
    assert obtain([remote(server, bad, "good")], tmp_path).read_bytes() == BODY
    assert visible(tmp_path) == ["set.bin"]


def test_a_silent_source_is_left_after_the_timeout(server, tmp_path):
    assert obtain([remote(server, "slow", "good")], tmp_path, timeout=0.2).read_bytes() == BODY


def test_a_cut_transfer_goes_on_where_it_stopped(server, tmp_path):
    assert obtain([remote(server, "cut")], tmp_path).read_bytes() == BODY
    assert server.asked == [("/cut/set.bin", 0), ("/cut/set.bin", len(BODY) // 2)]


def test_a_killed_run_goes_on_where_it_stopped(server, tmp_path):
    (tmp_path / "set.bin.part").write_bytes(BODY[:1000])
    assert obtain([remote(server, "good")], tmp_path).read_bytes() == BODY
    assert server.asked == [("/good/set.bin", 1000)]


@pytest.mark.parametrize("left", [b"x" * 1000, b"x" * len(BODY), BODY + b"more"])
def test_a_spoilt_rest_of_an_earlier_run_is_thrown_away(server, tmp_path, left):
    (tmp_path / "set.bin.part").write_bytes(left)
    assert obtain([remote(server, "good")], tmp_path).read_bytes() == BODY


def test_a_wrong_file_never_gets_the_name_and_the_error_says_what_to_do(server, tmp_path):
    with pytest.raises(DataError) as caught:
        obtain([remote(server, "other", "missing", "page")], tmp_path)
    text = str(caught.value)
    assert caught.value.exit_code == 3 and visible(tmp_path) == []
    assert f"where {MD5} belongs" in text and "HTTP 404" in text and "a web page" in text
    assert f"put it into {tmp_path} as set.bin" in text and f"{server.url}/missing/set.bin" in text


def test_a_wrong_file_that_lies_there_is_replaced_or_named(server, tmp_path):
    (tmp_path / "set.bin").write_bytes(b"mine")
    with pytest.raises(DataError, match=f"the set.bin that lies there has md5 {hashlib.md5(b'mine').hexdigest()}"):
        obtain([remote(server, "missing")], tmp_path)
    assert (tmp_path / "set.bin").read_bytes() == b"mine"
    assert obtain([remote(server, "good")], tmp_path).read_bytes() == BODY


def test_another_form_of_the_data_is_taken_where_the_first_is_nowhere(server, tmp_path):
    other = Remote("form.bin", len(BODY), MD5, (f"{server.url}/good/form.bin",))
    assert obtain([remote(server, "missing"), other], tmp_path).name == "form.bin"


def test_an_answer_without_end_is_left_at_the_size_that_belongs(server, tmp_path):
    with pytest.raises(DataError, match=f"more than the {len(BODY)} bytes that belong"):
        obtain([remote(server, "endless")], tmp_path)
    assert all(path.stat().st_size <= len(BODY) for path in tmp_path.iterdir())


def test_no_network_is_a_data_error_at_once(tmp_path):
    nowhere = Remote("set.bin", 5, MD5, ("http://127.0.0.1:9/set.bin",))
    with pytest.raises(DataError, match="refused"):
        obtain([nowhere], tmp_path)


def test_two_at_once_fetch_once(server, tmp_path):
    found = []
    both = [threading.Thread(target=lambda: found.append(obtain([remote(server, "good")], tmp_path))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [path.read_bytes() for path in found] == [BODY, BODY] and len(server.asked) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_is_told_and_no_source_is_blamed(server, tmp_path):
    (tmp_path / "set.bin.part").symlink_to("/dev/full")
    with pytest.raises(DataError, match="No space left on device.*data.root=DIR"):
        obtain([remote(server, "good", "good")], tmp_path)
    assert len(server.asked) == 1
