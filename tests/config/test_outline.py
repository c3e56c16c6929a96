import os

from cnntrain.config.outline import options, read, split_comment

TEXT = """\
# @package _global_
# What it is
# more of it
# example: cnntrain do this
defaults:
  - _self_
  - model: lenet5
  - override /augment@_global_.augment: [crop, flip]
  - override hydra/launcher: cnntrain
  - /model@net: resnet20
  - override /model@other.net: resnet18

_target_: a.b
lr: 0.1    # peak # of all
name: "a # b"   # quoted
above:
  _target_: c.d
  inner: null  # deep
  more:
    - 1
    - 2
flat: {a: 1}   # one line
hydra:
  run:
    dir: x
"""


def test_reads_comments_keys_defaults_and_choices(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text(TEXT)
    outline = read(path)
    assert outline.meaning == "What it is"
    assert outline.examples == ["cnntrain do this"]
    assert outline.whole_tree
    assert outline.choices == {"model": "lenet5"}
    assert outline.overrides == {"augment": "[crop, flip]", "hydra/launcher": "cnntrain", "model@other.net": "resnet18"}
    assert outline.nested == {"model@net": "resnet20"}
    assert [tuple(key) for key in outline.keys] == [
        ("lr", "0.1", "peak # of all"),
        ("name", '"a # b"', "quoted"),
        ("above.inner", "null", "deep"),
        ("above.more", "[1, 2]", ""),
        ("flat", "{a: 1}", "one line"),
    ]


def test_never_fails(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xff\xfe: [\n\t- : :\n- - -\nkey\n")
    read(path)
    assert read(tmp_path / "absent.yaml").keys == []


def test_a_file_that_was_edited_is_read_again(tmp_path):
    path = tmp_path / "x.yaml"
    for seconds, text in enumerate(("# One", "# Two")):
        path.write_text(text)
        os.utime(path, (seconds, seconds))
        assert read(path).meaning == text[2:]


def test_a_comment_starts_at_a_free_hash():
    assert split_comment("a#b # c") == ("a#b", "c")
    assert split_comment("'it # is' # c") == ("'it # is'", "c")


def test_options():
    assert options("[crop, flip]") == ["crop", "flip"]
    assert options("null") == options("[]") == []
