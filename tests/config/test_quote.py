import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from cnntrain.config.quote import literal, path_word


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        3,
        -0.5,
        1e-7,
        "plain",
        "with space",
        "it's",
        "back\\slash\\",
        "a=b",
        "[x]",
        "null",
        "",
        "ünï 猫",
        ["a b", 1, None],
        {"k": [1.5, "x y"]},
    ],
    ids=str,
)
def test_the_grammar_reads_back_what_was_written(value):
    parsed = OverridesParser.create().parse_overrides([f"key={literal(value)}"])[0]
    read = parsed.value()
    assert (str(read) if isinstance(value, str) else read) == value


def test_names_on_disk_that_the_grammar_refuses_are_quoted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("0_seed=1", "two words", "a,b.jpg", "plain"):
        (tmp_path / name).write_text("")
        parsed = OverridesParser.create().parse_overrides([path_word(f"checkpoint={name}")])[0]
        assert parsed.value() == name and not parsed.is_sweep_override()
    assert path_word("optimizer.lr=0.1,0.2") == "optimizer.lr=0.1,0.2"
    assert path_word("checkpoint=plain") == "checkpoint=plain"
    assert path_word("checkpoint='two words'") == "checkpoint='two words'"
