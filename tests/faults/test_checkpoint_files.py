"""C1–C4: checkpoint files that are damaged, that lie, or that are of another network."""

import hashlib
import io
import json
import os
import re
import struct
from pathlib import Path

import pytest
import torch
from faults import forked
from hypothesis import given, settings
from hypothesis import strategies as st
from stored import SYNTHETIC, make

from cnntrain import cli
from cnntrain.config.stored import read_config
from cnntrain.engine import checkpoint
from cnntrain.errors import CheckpointError, CnntrainError
from cnntrain.task.load import load
from cnntrain.task.resume import resume

MARK = b'"sha256":"'
PAGE = 4096


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A good checkpoint of a small residual network: about 320 kB."""
    path = tmp_path_factory.mktemp("whole") / "whole.safetensors"
    make(path)
    return path


def split(content):
    """Header as text, and the bytes of the tensors."""
    length = struct.unpack("<Q", content[:8])[0]
    return content[8 : 8 + length], content[8 + length :]


def sealed(text, body):
    """A file of this header and these bytes whose digest is right."""
    text = text.encode() if isinstance(text, str) else text
    at = text.find(MARK) + len(MARK)
    start = struct.pack("<Q", len(text))
    if at >= len(MARK):
        digest = hashlib.sha256(start + text[:at] + b"0" * 64 + text[at + 64 :] + body).hexdigest().encode()
        text = text[:at] + digest + text[at + 64 :]
    return start + text + body


def refused(path):
    """The error of reading a file that is to be refused: exit code 4, its name, a fix."""
    with pytest.raises(CheckpointError) as caught:
        checkpoint.read(path)
    assert caught.value.exit_code == 4 and str(path) in str(caught.value) and caught.value.fix
    return str(caught.value)


def part_of(place, content):
    """Where in a checkpoint an offset is."""
    text, _ = split(content)
    at = text.find(MARK)
    if place < 8:
        return "the header's length"
    if place >= 8 + len(text):
        return f"the tensors, part {8 * (place - 8 - len(text)) // (len(content) - 8 - len(text)) + 1} of 8"
    inside = place - 8
    if at <= inside < at + len(MARK) + 64:
        return "the digest"
    return "the facts" if inside < text.find(b'"}', at + 80) else "names, shapes and places"


# C1 and C2: damage


def test_every_cut_is_found(tmp_path, whole, chance, fault):
    content = whole.read_bytes()
    text, _ = split(content)
    cuts = [0, 1, 7, 8, 9, 8 + len(text) - 1, 8 + len(text), len(content) - 1]
    cuts += [chance.randrange(len(text)) for _ in range(96)] + [chance.randrange(len(content)) for _ in range(96)]
    path = tmp_path / "cut.safetensors"
    for cut in cuts:
        path.write_bytes(content[:cut])
        assert f"({cut:,} bytes)" in refused(path)
        fault("C1", f"cut in {part_of(cut, content)}")


def test_every_flipped_bit_is_found(tmp_path, whole, chance, fault):
    stored = checkpoint.read(whole)
    path = tmp_path / "flipped.safetensors"  # the same in small, to be read a thousand times
    some = {name: value for name, value in stored.tensors.items() if value.numel() < 3000}
    checkpoint.write(path, some, {key: value for key, value in stored.meta.items() if key not in ("format", "aliases")})
    content = bytearray(path.read_bytes())
    length = len(split(content)[0])
    places = [chance.randrange(8 + length) for _ in range(300)] + [chance.randrange(len(content)) for _ in range(700)]
    with open(path, "r+b", buffering=0) as file:
        for place in places:
            flipped = bytes([content[place] ^ 1 << chance.randrange(8)])
            file.seek(place)
            file.write(flipped)
            told = refused(path)
            assert "damaged" in told or "not a cnntrain checkpoint" in told
            file.seek(place)
            file.write(content[place : place + 1])
            fault("C2", f"a bit of {part_of(place, content)}")
    assert checkpoint.read(path).meta["step"] == 12


def test_every_zeroed_page_is_found(tmp_path, whole, chance, fault):
    """What a file system leaves of a write that was under way when the power went."""
    content = whole.read_bytes()
    pages = range(len(content) // PAGE + 1)
    path = tmp_path / "zeroed.safetensors"
    for page in [*pages, *(chance.choice(pages) for _ in range(max(0, 100 - len(pages))))]:
        path.write_bytes(content[: page * PAGE] + bytes(len(content[page * PAGE : (page + 1) * PAGE])) + content[(page + 1) * PAGE :])
        refused(path)
        fault("C2", f"a zeroed page in {part_of(page * PAGE, content)}")


def noise(path, whole, chance):
    path.write_bytes(chance.randbytes(5000))


def page(path, whole, chance):
    path.write_bytes(b"<!DOCTYPE html><html><title>404</title>" * 100)


def archive(path, whole, chance):
    import zipfile

    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "text" * 1000)


def of_torch(path, whole, chance):
    torch.save({"model": torch.zeros(10)}, path)


def foreign(path, whole, chance):
    from safetensors.torch import save_file

    save_file({"conv.weight": torch.zeros(3, 3)}, path)


def appended(path, whole, chance):
    path.write_bytes(whole.read_bytes() + b"\n")


def twice(path, whole, chance):
    path.write_bytes(whole.read_bytes() * 2)


def digest_of_another(path, whole, chance):
    content = bytearray(whole.read_bytes())
    at = content.find(MARK) + len(MARK)
    content[at : at + 64] = hashlib.sha256(content).hexdigest().encode()
    path.write_bytes(content)


def digest_in_capitals(path, whole, chance):
    content = bytearray(whole.read_bytes())
    at = content.find(MARK) + len(MARK)
    content[at : at + 64] = content[at : at + 64].upper()
    path.write_bytes(content)


def of_another_format(path, whole, chance):
    text, body = split(whole.read_bytes())
    path.write_bytes(sealed(text.replace(b'{\\"format\\": 1,', b'{\\"format\\": 2,'), body))


def sparse(path, whole, chance):
    path.write_bytes(whole.read_bytes()[:-PAGE])
    os.truncate(path, whole.stat().st_size)


DAMAGES = {
    "nothing at all": lambda path, whole, chance: path.write_bytes(b""),
    "5 kB of noise": noise,
    "5 kB of zeros": lambda path, whole, chance: path.write_bytes(bytes(5000)),
    "a web page": page,
    "another archive": archive,
    "a file of torch.save": of_torch,
    "a foreign safetensors file": foreign,
    "a byte more": appended,
    "the file twice": twice,
    "the digest of something else": digest_of_another,
    "a digest in capitals": digest_in_capitals,
    "another format": of_another_format,
    "an end that was never written": sparse,
    "a folder": lambda path, whole, chance: path.mkdir(),
    "a pipe": lambda path, whole, chance: os.mkfifo(path),
    "a device": lambda path, whole, chance: path.symlink_to("/dev/zero"),
    "a link to itself": lambda path, whole, chance: path.symlink_to(path),
    "a dangling link": lambda path, whole, chance: path.symlink_to(path.with_name("nowhere")),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_file_is_passed_over_or_told(tmp_path, whole, chance, fault, kind):
    last, previous = tmp_path / "last.safetensors", tmp_path / "previous.safetensors"
    previous.write_bytes(whole.read_bytes())
    DAMAGES[kind](last, whole, chance)
    told = refused(last)
    if kind not in ("a folder", "a pipe", "a device", "a link to itself", "a dangling link", "another format"):
        assert f"({last.stat().st_size:,} bytes)" in told
    found, remarks = checkpoint.read_newest(tmp_path)
    assert found.path == previous and found.meta["step"] == 12
    if "link" not in kind:  # which is no file to look at
        assert len(remarks) == 1 and "passed over" in remarks[0] and "\n" not in remarks[0]
    fault("C1", kind)


@pytest.mark.parametrize("verb", ["evaluate", "predict", "summary"])
def test_a_damaged_file_that_is_named_is_exit_code_4(tmp_path, whole, capsys, fault, verb):
    path = tmp_path / "cut.safetensors"
    path.write_bytes(whole.read_bytes()[:-1])
    (tmp_path / "a.png").write_bytes(b"")
    words = [f"checkpoint={path}", *([f"images={tmp_path}/a.png"] if verb == "predict" else [])]
    assert cli.main([verb, *words]) == 4
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert re.search(
        r"error: Checkpoint .*cut\.safetensors \([\d,]+ bytes\) is damaged: its sha256 is \w{16}…, it should be \w{16}….*Fix:", last
    )
    fault("C1", f"a cut file named to {verb}")


# C3: files whose digest is right, and that lie


def deep(levels):
    return "[" * levels + "]" * levels


def header_edits(whole):
    """Named files whose digest is right: (name, content). The header of each was edited."""
    text, body = split(whole.read_bytes())
    names = [name for name in json.loads(text) if name != "__metadata__"]
    one, two = names[0], names[1]

    def edit(change):
        tree = json.loads(text)
        change(tree)
        return sealed(json.dumps(tree, separators=(",", ":")), body)

    def entry(**values):
        return edit(lambda tree: tree[one].update(values))

    def raw(old, new):
        assert old in text
        return sealed(text.replace(old, new, 1), body)

    start, end = json.loads(text)[one]["data_offsets"]
    shape = json.loads(text)[one]["shape"]
    yield "a tensor's name twice", raw(f'"{two}"'.encode(), f'"{one}"'.encode())
    yield "the facts twice", raw(b'{"__metadata__"', b'{"__metadata__":{},"__metadata__"')
    yield "a dtype twice", raw(b'"dtype":"F32"', b'"dtype":"F32","dtype":"F32"')
    yield "NaN in a shape", raw(b'"shape":[', b'"shape":[NaN,')
    yield "infinity as a place", raw(f"[{start},{end}]".encode(), f"[{start},Infinity]".encode())
    yield "10^5 levels in the header", raw(b'"shape":[', f'"more":{deep(100_000)},"shape":['.encode())
    yield "10^5 levels in a shape", raw(b'"shape":[', f'"shape":[{deep(100_000)},'.encode())
    yield "a number of 10^4 digits", raw(b'"shape":[', b'"shape":[' + b"9" * 10_000 + b",")
    yield "overlapping places", entry(data_offsets=[start, end - 4], shape=[(end - 4 - start) // 4])
    yield "a hole", edit(lambda tree: tree[two].update(data_offsets=[end + 4, tree[two]["data_offsets"][1]]))
    yield "a place outside", entry(data_offsets=[start, end + (1 << 40)])
    yield "a place below 0", entry(data_offsets=[-4, end])
    yield "an end before the start", entry(data_offsets=[start, start - 4])
    yield "places that are fractions", entry(data_offsets=[0.0, float(end)])
    yield "places that are texts", entry(data_offsets=["0", str(end)])
    yield "three places", entry(data_offsets=[start, end, end])
    yield "no place", edit(lambda tree: tree[one].pop("data_offsets"))
    yield "no shape", edit(lambda tree: tree[one].pop("shape"))
    yield "no dtype", edit(lambda tree: tree[one].pop("dtype"))
    yield "an unknown dtype", entry(dtype="F4")
    yield "a dtype that is a list", entry(dtype=["F32"])
    yield "a wider dtype", entry(dtype="F64")
    yield "a shape of more numbers", entry(shape=[*shape[:-1], shape[-1] + 1])
    yield "a shape below 0", entry(shape=[-shape[0], -shape[1], *shape[2:]])
    yield "a shape of true", entry(shape=[True, *shape])
    yield "an empty shape of 2^80", entry(shape=[0, 1 << 40, 1 << 40])
    yield "a shape of 10^5 axes", entry(shape=[*shape, *[1] * 100_000])
    yield "a tensor that is a list", edit(lambda tree: tree.update({one: []}))
    yield "a tensor that is null", edit(lambda tree: tree.update({one: None}))
    yield "a tensor less", edit(lambda tree: tree.pop(names[-1]))
    yield "facts that are a list", raw(b'"__metadata__":{', b'"__metadata__":["sha256",{').replace(b'\\"}"},', b'\\"}"}],')
    yield "a header that is a list", sealed(b'[{"sha256":"' + b"0" * 64 + b'"}]', body)
    yield "a header that is no JSON", sealed(text[:-1] + b"!", body)
    yield "a header that is no UTF-8", sealed(text.replace(b'"dtype"', b'"dt\xffpe"', 1), body)
    yield "a header of 5 MB", sealed(text + b" " * (5 << 20), body)
    yield "a dense header of 4 MB", sealed(b'{"__metadata__":{"sha256":"' + b"0" * 64 + b'"},"a":[' + b"[]," * 1_390_000 + b"0]}", b"")
    yield "1 GB of header, claimed", struct.pack("<Q", 1 << 30) + text + body
    yield "2^63 bytes of header, claimed", struct.pack("<Q", 1 << 63) + text + body
    yield "a header of 2 bytes", struct.pack("<Q", 2) + b"{}"


FACTS = {
    "no facts": None,
    "facts that are no JSON": "{",
    "facts that are a number": "1",
    "facts that are null": "null",
    "facts that are a list": "[]",
    "facts 10^5 levels deep": deep(100_000),
    "facts with a name twice": '{"format": 1, "format": 1}',
    "facts without format": "{}",
    "facts of 3 MB": '{"format": 1, "classes": [' + '"",' * 900_000 + '""]}',
}
ALIASES = {
    "an alias of nothing": {"model.new": "model.nowhere"},
    "an alias of itself": {"model.new": "model.new"},
    "an alias of an alias": {"model.new": "model.other", "model.other": "model.new"},
    "an alias in a tensor's place": {"model.conv1.weight": "model.fc.weight"},
    "aliases that are a list": ["model.new"],
    "an alias of a number": {"model.new": 1},
    "no aliases": ...,
}
# Every fact that the product knows, and values that are none of its kind.
WRONG = {
    "format": ["1", None, True, 1.5, float("nan"), [1], 2],
    "step": [None, "12", -1, 1.5, float("nan"), [], {}],
    "epoch": [None, "x", -1, float("inf")],
    "rows": ["x", -1, None],
    "rollbacks": [3, [-1], ["x"]],
    "threads": [0, "1", None],
    "num_train": [0, "x", None, 1e300],
    "classes": [None, "abc", [1, 2], {}, ["a"] * 8],
    "class_counts": [[-1] * 7, ["x"] * 7, [1], 7],
    "mean": [None, "x", [0.5], ["x"] * 3, [float("nan")] * 3, [float("inf")] * 3, {}],
    "std": [None, [0.0] * 3, [-1.0] * 3, [0.5] * 4],
    "metrics": [[], {"loss": "x"}, {"loss": []}],
    "best": [[], {"best": "x"}],
    "scaler": [1, {"scale": "x"}],
    "model": [None, [], "lenet", {}],
    "model.recipe": [None, "x", []],
    "model.facts": [None, [], {}, {"num_classes": 7}],
    "model.facts.num_classes": [8, 0, -1, "7", 1 << 40, None],
    "model.facts.in_channels": [4, 0, "3", 1 << 40],
    "model.facts.image_size": [0, "8", 1.5, None],
    "config": [None, [], "x", {}],
    "config.data": [None, "x", []],
    "config.loss": ["x"],
    "config.objective": [1],
    "config.seed": ["x", -1, 0.5],
    "config.tta": ["upside down", 1],
    "config.batch_size": [0, "x", -3],
    "config.epochs": [-1, "x", []],
    "config.optimizer": ["x"],
}
NEEDED = ("config", "model", "classes", "mean", "std")  # by whoever uses the network


def with_facts(whole, facts):
    """A copy of the file whose facts are this text (None: there are none)."""
    text, body = split(whole.read_bytes())
    tree = json.loads(text)
    tree["__metadata__"] = {"sha256": "0" * 64} if facts is None else {"sha256": "0" * 64, "cnntrain": facts}
    return sealed(json.dumps(tree, separators=(",", ":")), body)


def changed_facts(whole, name, value):
    """A copy of the file in which one fact is another (``...``: is not there)."""
    text, _ = split(whole.read_bytes())
    facts = json.loads(json.loads(text)["__metadata__"]["cnntrain"])
    node = facts
    *parents, last = name.split(".")
    for part in parents:
        node = node[part]
    node[last] = value
    if value is ...:
        del node[last]
    return with_facts(whole, json.dumps(facts))


def lies(whole):
    """All of C3: (name, content, whether reading refuses it or only who uses it)."""
    yield from ((name, content, True) for name, content in header_edits(whole))
    yield from ((name, with_facts(whole, facts), True) for name, facts in FACTS.items())
    yield from ((name, changed_facts(whole, "aliases", value), True) for name, value in ALIASES.items())
    for name, values in WRONG.items():
        for value in values:
            empty = value == {} or (name == "model.facts" and isinstance(value, dict))  # of its kind, but lacks what is needed
            yield f"{name} = {value!r:.30}", changed_facts(whole, name, value), not empty
    yield from ((f"no {name}", changed_facts(whole, name, ...), False) for name in NEEDED)


def memory(key):
    return next(int(line.split()[1]) for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key)) / 1024


def test_a_lie_under_a_good_digest_is_refused_in_little_memory(tmp_path, whole, fault):
    found = list(lies(whole))
    path = tmp_path / "lie.safetensors"

    def work():
        load(whole)  # what the first load imports
        before = memory("VmRSS")
        wrong = []
        for name, content, by_reader in found:
            path.write_bytes(content)
            try:
                (checkpoint.read if by_reader else load)(path)
                wrong.append(f"{name}: accepted")
            except CheckpointError as error:
                if error.exit_code != 4 or str(path) not in str(error) or not error.fix or len(str(error)) > 600:
                    wrong.append(f"{name}: {error!s:.700}")
            except BaseException as error:
                wrong.append(f"{name}: {error!r:.200}")
        print("\n".join(wrong), f"\nmost memory: {memory('VmHWM') - before:.0f} MB above {before:.0f}")
        return bool(wrong) or memory("VmHWM") - before > 200

    ended = forked.run(work, tmp_path / "console", timeout=120)
    assert ended.code == 0, ended.output
    for name, _, _ in found:
        fault("C3", name)


def test_a_header_of_a_gigabyte_is_not_read(tmp_path, whole, fault):
    path = tmp_path / "huge.safetensors"
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", 1 << 30))
        file.truncate((1 << 30) + 100)

    def work():
        before = memory("VmRSS")
        assert "not a cnntrain checkpoint" in refused(path)
        return memory("VmHWM") - before > 50

    assert forked.run(work, tmp_path / "console").code == 0
    fault("C3", "1 GB of header, there")


def test_what_a_resume_needs_is_asked_for_by_name(tmp_path, monkeypatch, fault):
    monkeypatch.chdir(tmp_path)
    words = "model=lenet5 data=synthetic data.image_size=16 data.channels=1 data.samples=60 data.test_samples=20 data.classes=4"
    words += " batch_size=16 epochs=1 machine.threads=1 report.progress=off report.tensorboard=false hydra.run.dir=run"
    cli.call("train", *words.split())
    last = Path("run/last.safetensors")
    content = last.read_bytes()
    Path("run/previous.safetensors").unlink(missing_ok=True)
    whole = tmp_path / "whole.safetensors"
    whole.write_bytes(content)

    def again():
        return resume(run="run", config={**read_config(Path("run")), "epochs": 2}, changes={"epochs": (1, 2)})

    for name in ("step", "epoch", "rows", "num_train", "class_counts", "best", "metrics", "config.optimizer.lr", "config.epochs"):
        last.write_bytes(changed_facts(whole, name, ...))
        with pytest.raises(CheckpointError, match=f"lacks '{name.rpartition('.')[2]}'"):
            again()
        fault("C3", f"a resume without {name}")

    def tensors(change):
        stored = checkpoint.read(whole)
        kept = dict(stored.tensors)
        change(kept)
        meta = {key: value for key, value in stored.meta.items() if key not in ("aliases", "format")}
        checkpoint.write(last, kept, meta)

    buffer = "optimizer.fc1.weight/momentum_buffer"
    for name, change in {
        "no generator": lambda kept: kept.pop("generator.cpu"),
        "half a generator": lambda kept: kept.update({"generator.cpu": kept["generator.cpu"][:100]}),
        "a generator of floats": lambda kept: kept.update({"generator.cpu": kept["generator.cpu"].float()}),
        "no sums": lambda kept: kept.pop("sums.epoch"),
        "longer sums": lambda kept: kept.update({"sums.epoch": torch.zeros(7)}),
        "an optimizer of another weight": lambda kept: kept.update({"optimizer.fc9.weight/momentum_buffer": kept.pop(buffer)}),
        "an optimizer without a name": lambda kept: kept.update({"optimizer.x": torch.zeros(1)}),
        "another network's weights": lambda kept: kept.update({"model.fc1.weight": torch.zeros(2, 2)}),
        "NaN in a weight": lambda kept: kept["model.fc1.weight"].fill_(torch.nan),
    }.items():
        tensors(change)
        with pytest.raises(CheckpointError) as caught:
            again()
        assert caught.value.exit_code == 4 and caught.value.fix, name
        fault("C3", f"a resume with {name}")
    last.write_bytes(content)
    assert again()["metrics"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_whatever_is_edited_in_it_a_file_is_read_or_refused(tmp_path_factory, whole, data):
    """One value anywhere, in the header or the facts, becomes any other: an exception of another kind would be a bug of ours."""
    text, body = split(whole.read_bytes())
    tree = json.loads(text)
    facts = json.loads(tree["__metadata__"]["cnntrain"])
    root = node = data.draw(st.sampled_from([tree, facts]), label="where")
    while True:
        keys = list(node) if isinstance(node, dict) else range(len(node))
        key = data.draw(st.sampled_from(sorted(keys, key=str)), label="key")
        if isinstance(node[key], dict | list) and node[key] and data.draw(st.booleans(), label="inside"):
            node = node[key]
        else:
            break
    node[key] = data.draw(json_values, label="value")
    if root is facts:
        tree["__metadata__"]["cnntrain"] = json.dumps(facts)
    path = tmp_path_factory.mktemp("edited") / "edited.safetensors"
    path.write_bytes(sealed(json.dumps(tree), body))
    try:
        load(path)
    except CnntrainError as error:
        assert error.exit_code in (2, 3, 4) and error.fix
    finally:
        path.unlink()


@settings(max_examples=150, derandomize=True, deadline=None, database=None)
@given(junk=st.binary(max_size=300), place=st.integers(0, 200), length=st.integers(0, 400))
def test_any_bytes_are_refused(tmp_path_factory, junk, place, length):
    path = tmp_path_factory.getbasetemp() / "junk.safetensors"
    path.write_bytes(struct.pack("<Q", length) + junk[:place] + MARK + b"0" * 64 + b'"' + junk[place:])
    refused(path)


# C4: another network


def pop(name):
    return lambda kept: kept.pop(name)


def swap(new, old):
    return lambda kept: kept.update({new: kept.pop(old)})


def put(name, change):
    return lambda kept: kept.update({name: change(kept[name])})


def prefixed(prefix):
    def change(kept):
        for name in [name for name in kept if name.startswith("model.")]:
            kept[f"model.{prefix}{name.removeprefix('model.')}"] = kept.pop(name)

    return change


def of_all(kind):
    def change(kept):
        kept.update({name: value.to(kind) for name, value in kept.items() if value.is_floating_point()})

    return change


WEIGHT = "model.conv1.weight"
OTHERS = {
    "more classes": (put("model.fc.weight", lambda value: torch.zeros(9, 64)), r"fc\.weight is \(9, 64\), the model's is \(7, 64\)"),
    "a missing weight": (pop(WEIGHT), r"conv1\.weight is missing"),
    "a weight too many": (lambda kept: kept.update({"model.extra": torch.zeros(1)}), "extra is not in the model"),
    "a renamed weight": (swap("model.conv.weight", WEIGHT), r"conv1\.weight is missing; conv\.weight is not in the model"),
    "another kernel": (put(WEIGHT, lambda value: value[..., :1].clone()), r"conv1\.weight is \(16, 3, 3, 1\)"),
    "a weight turned round": (put("model.fc.weight", lambda value: value.T.contiguous()), r"fc\.weight is \(64, 7\)"),
    "half precision": (of_all(torch.float16), r"is \(16, 3, 3, 3\) of torch\.float16, the model's is \(16, 3, 3, 3\)"),
    "double precision": (of_all(torch.float64), "of torch.float64"),
    "whole numbers": (put(WEIGHT, lambda value: value.to(torch.int32)), "of torch.int32"),
    "names of DistributedDataParallel": (prefixed("module."), r"is missing.*and \d+ more"),
    "names of torch.compile": (prefixed("_orig_mod."), r"is missing.*and \d+ more"),
    "no weights": (lambda kept: kept.clear(), r"is missing.*and \d+ more"),
    "NaN in a weight": (put(WEIGHT, lambda value: value * torch.nan), r"not finite: conv1\.weight"),
    "infinity in a variance": (put("model.bn1.running_var", lambda value: value / 0), r"not finite: bn1\.running_var"),
    "NaN in an average": (lambda kept: kept.update({f"average.{name[6:]}": value * torch.nan if value.is_floating_point() else value
                                                     for name, value in list(kept.items())}), "not finite"),
}  # fmt: skip


@pytest.mark.parametrize("kind", OTHERS)
def test_weights_of_another_network_are_refused_by_name(tmp_path, fault, kind):
    change, words = OTHERS[kind]
    make(tmp_path / "a.safetensors", change=change)
    with pytest.raises(CheckpointError, match=words) as caught:
        load(tmp_path / "a.safetensors")
    assert caught.value.exit_code == 4 and caught.value.what.count(";") <= 4 and caught.value.fix
    fault("C4", kind)


def test_a_file_of_torchvision_is_refused(tmp_path, fault):
    from safetensors.torch import save_file
    from torchvision.models import squeezenet1_1

    weights = squeezenet1_1().state_dict()
    torch.save(weights, tmp_path / "squeezenet1_1.pth")
    save_file(weights, tmp_path / "squeezenet1_1.safetensors")
    for path in tmp_path.iterdir():
        assert "not a cnntrain checkpoint" in refused(path)
        fault("C4", f"torchvision's weights, {path.suffix}")


def test_data_of_other_classes_are_refused(tmp_path, whole, fault, capsys):
    keys = ("classes", "image_size", "channels", "samples", "test_samples")
    given = {f"data.{key}": SYNTHETIC[key] for key in keys}
    for words, kind in (("data.classes=8", "more classes"), ("data.channels=1", "other channels"), ("data.image_size=9", "another size")):
        others = [f"{key}={value}" for key, value in given.items() if not words.startswith(f"{key}=")]
        assert cli.main(["evaluate", f"checkpoint={whole}", "data=synthetic", *others, words]) == 3
        assert "Fix: " in capsys.readouterr().err.strip().splitlines()[-1]
        fault("C4", f"evaluated on {kind}")


def test_a_file_that_is_replaced_while_it_is_read_is_one_of_the_two(tmp_path, whole, monkeypatch, fault):
    """A run that is still on renames a new file into place: no weights of one under the facts of the other."""
    path = tmp_path / "best.safetensors"
    path.write_bytes(whole.read_bytes())
    make(tmp_path / "new", seed=4, step=99)
    tensors = checkpoint._tensors

    def replace(header, size):
        os.replace(tmp_path / "new", path)
        return tensors(header, size)

    monkeypatch.setattr(checkpoint, "_tensors", replace)
    found = checkpoint.read(path)
    monkeypatch.undo()
    old, new = checkpoint.read(whole), checkpoint.read(path)
    assert found.meta["step"] == old.meta["step"] == 12 and new.meta["step"] == 99
    assert all(torch.equal(found.tensors[name], value) for name, value in old.tensors.items())
    fault("C1", "a file that is replaced while it is read")


def test_a_file_that_shrinks_while_it_is_read_is_damaged(tmp_path, whole, monkeypatch, fault):
    path = tmp_path / "best.safetensors"
    path.write_bytes(whole.read_bytes())
    tensors = checkpoint._tensors

    def shrink(header, size):
        os.truncate(path, 30_000)
        return tensors(header, size)

    monkeypatch.setattr(checkpoint, "_tensors", shrink)
    assert "damaged" in refused(path)
    fault("C1", "a file that shrinks while it is read")


def test_a_checkpoint_that_could_not_be_read_again_is_not_written(tmp_path, fault):
    path = tmp_path / "last.safetensors"
    with pytest.raises(CheckpointError, match="a checkpoint takes"):
        checkpoint.write(path, {}, {"classes": [f"class {number}" * 10 for number in range(60_000)]})
    assert not list(tmp_path.iterdir())
    names = [f"class number {number}" for number in range(50_000)]
    checkpoint.write(path, {}, {"classes": names})
    assert checkpoint.read(path).meta["classes"] == names
    fault("C3", "more classes than a header holds")


def test_whole_files_of_any_content_are_accepted(tmp_path, chance):
    """No false alarm: every dtype, empty and scalar tensors, odd names and sizes that align with nothing."""
    kinds = list(checkpoint._DTYPES)
    for number in range(60):
        tensors = {}
        for place in range(chance.randrange(6)):
            shape = [chance.randrange(5) for _ in range(chance.randrange(4))]
            tensors[f't{place} ünï "{chance.choice(["a", "%s", " "])}'] = torch.zeros(shape).to(chance.choice(kinds))
        meta = {"metrics": {"loss": chance.choice([float("nan"), float("inf"), 0.1])}, "own": [None, {"x": "猫"}], "step": number}
        checkpoint.write(tmp_path / "a.safetensors", tensors, meta)
        found = checkpoint.read(tmp_path / "a.safetensors")
        assert set(found.tensors) == set(tensors) and found.meta["step"] == number
        for name, value in tensors.items():
            assert found.tensors[name].dtype == value.dtype and torch.equal(found.tensors[name], value)
        with io.BytesIO((tmp_path / "a.safetensors").read_bytes()) as file:
            from safetensors.torch import load as anybody

            theirs = anybody(file.read())
        assert set(theirs) == set(tensors) - set(found.meta["aliases"])
