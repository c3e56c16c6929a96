"""Signatures are read from text: right types, nothing imported."""

import subprocess
import sys
import textwrap
from typing import Any, Literal

import pytest

from cnntrain import units
from cnntrain.config.recipe import Recipe
from cnntrain.config.signature import COMPUTED, REQUIRED, read
from cnntrain.config.source import find_module, load, locate, suggestion
from cnntrain.errors import ConfigError

NETS = '''
"""Nets of a user; importing them is an error, so that a test sees it."""
from __future__ import annotations
import typing
from collections.abc import Sequence, Mapping
from typing import Any, Literal, Optional as Maybe, Union
from cnntrain import units
from cnntrain.config.recipe import Recipe
from cnntrain.units import Fraction, Count as HowMany
from .nowhere import Thing
from nets.kinds import Stem

raise RuntimeError("imported")

Activation = Literal["relu", "elu"]


class Net:
    def __init__(
        self, depth: int, /, *rest, width: HowMany = 64, drop: Fraction = 0.0, rate: units.LearningRate = "auto",
    ) -> None: ...


class Other:
    def __init__(self, depth: int, stem: Literal["auto", "cifar", 3, -1, None], *, flag: bool = True, size: int | None = None,
        pair: tuple[int, int] = (1, 2), many: tuple[float, ...] = (), items: list[int] = [1], names: Sequence[str] = (),
        table: Mapping[str, float] = {}, maybe: Maybe[int] = None, either: Union[int, str] = -1, quoted: "int | None" = None,
        thing: Thing = None, act: Activation = "relu", elsewhere: Stem = "auto", made: float = 2 * 3, any: Any = None, bare: list = [],
        part: Recipe = None, parts: dict[str, Recipe] = {}, noted: typing.Annotated[int, "x"] = 1, free=5, **others) -> None: ...

    class Inner:
        def __init__(self, x: int) -> None: ...


class Heir(Other):
    pass


async def later(*, x: int): ...


def make(*, width: HowMany = 3, size: float): ...
'''


@pytest.fixture
def nets(tmp_path, monkeypatch):
    package = tmp_path / "nets"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('a parent was imported')\n")
    (package / "family.py").write_text(NETS)
    (package / "kinds.py").write_text("from typing import Literal\nStem = Literal['auto', 'big']\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [name for name in sys.modules if name.split(".")[0] == "nets"]:
        del sys.modules[name]


def types(target: str) -> dict[str, Any]:
    return {name: one.type for name, one in read(target).parameters.items()}


def test_types_of_every_spelling(nets):
    found = types("nets.family.Other")
    assert found == {
        "depth": int,
        "stem": Literal["auto", "cifar", 3, -1, None],
        "flag": bool,
        "size": int | None,
        "pair": tuple[int, int],
        "many": tuple[float, ...],
        "items": list[int],
        "names": list[str],
        "table": dict[str, float],
        "maybe": int | None,
        "either": int | str,
        "quoted": int | None,
        "thing": Any,
        "act": Literal["relu", "elu"],
        "elsewhere": Any,  # an alias of a user's other module: only ours are followed
        "made": float,
        "any": Any,
        "bare": list[Any],
        "part": Recipe,
        "parts": dict[str, Recipe],
        "noted": int,
        "free": Any,
    }


def test_defaults_and_kinds(nets):
    signature = read("nets.family.Other")
    parameters = signature.parameters
    assert parameters["depth"].default is REQUIRED and parameters["depth"].required
    assert (parameters["pair"].default, parameters["either"].default, parameters["size"].default) == ((1, 2), -1, None)
    assert parameters["made"].default is COMPUTED and not parameters["made"].required
    assert (parameters["stem"].keyword_only, parameters["flag"].keyword_only) == (False, True)
    assert signature.open and signature.name == "Other"
    assert not read("nets.family.make").open


def test_functions_and_nested_classes(nets):
    assert types("nets.family.make") == {"width": units.Count, "size": float}
    assert types("nets.family.later") == {"x": int}
    assert types("nets.family.Other.Inner") == {"x": int}


def test_units_under_every_import(nets):
    (nets / "plain.py").write_text(
        "import cnntrain.units\nfrom cnntrain import units as u\nfrom cnntrain.units import Duration\n"
        "def f(*, a: cnntrain.units.Decay, b: u.Count, c: Duration | None, d: Fraction, e: u.Nonsense): ...\n"
    )
    assert types("nets.plain.f") == {"a": units.Decay, "b": units.Count, "c": units.Duration | None, "d": Any, "e": Any}


def test_by_position_only_is_an_error(nets):
    with pytest.raises(ConfigError, match="'depth' by position only"):
        read("nets.family.Net")


def test_nothing_is_imported(nets):
    read("nets.family.Other")
    assert not [name for name in sys.modules if name.split(".")[0] == "nets"]


def test_inherited_init_falls_back_to_importing(nets):
    with pytest.raises(ConfigError, match=r"nets.family cannot be imported: RuntimeError: a parent was imported"):
        read("nets.family.Heir")
    (nets / "__init__.py").write_text("")
    (nets / "family.py").write_text(NETS.replace('raise RuntimeError("imported")', "").replace("from .nowhere import Thing", "Thing = int"))
    heir = types("nets.family.Heir")
    assert (heir["depth"], heir["size"], heir["flag"]) == (int, int | None, bool)


def test_reexports_and_dynamic_names_are_imported(nets):
    (nets / "__init__.py").write_text("from nets.plain import make\n")
    (nets / "plain.py").write_text(
        "from typing import Literal, Optional\nfrom cnntrain.units import Count\n"
        "def make(*, a: Count, b: Optional[int] = None, c: Literal['x'] = 'x', d: 'int' = 1, e: list[int] = [], f: object = 2): ...\n"
    )
    (nets / "loop.py").write_text("for name in ('one', 'two'):\n    globals()[name] = lambda *, x=1: x\n")
    assert types("nets.make") == {"a": units.Count, "b": int | None, "c": Literal["x"], "d": int, "e": list[int], "f": Any}
    assert list(read("nets.loop.two").parameters) == ["x"]


def test_what_has_no_text(nets):
    assert list(read("json.JSONDecoder").parameters)[:1] == ["object_hook"]
    with pytest.raises(ConfigError, match="no readable signature|by position only"):
        read("math.hypot")


def test_edited_files_are_read_again(nets):
    (nets / "edited.py").write_text("def f(*, a: int): ...\n")
    assert list(read("nets.edited.f").parameters) == ["a"]
    (nets / "edited.py").write_text("def f(*, a: int, b: int): ...\n")
    assert list(read("nets.edited.f").parameters) == ["a", "b"]


def test_broken_text_names_the_line(nets):
    (nets / "broken.py").write_text("x = 1\ndef f(:\n")
    with pytest.raises(ConfigError, match=r"broken.py, line 2 is not valid Python"):
        read("nets.broken.f")


def test_nested_namespace_packages(tmp_path, monkeypatch):
    (tmp_path / "outer" / "inner").mkdir(parents=True)
    (tmp_path / "outer" / "inner" / "deep.py").write_text("def f(*, x: int): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert types("outer.inner.deep.f") == {"x": int}
    assert find_module("outer.inner.deep").path == tmp_path / "outer" / "inner" / "deep.py"
    assert find_module("outer.inner.shallow") is None


def test_module_in_memory():
    module = type(sys)("made_up")
    exec("def f(*, x: int = 1): ...", module.__dict__)
    sys.modules["made_up"] = module
    try:
        assert types("made_up.f") == {"x": int}
    finally:
        del sys.modules["made_up"]


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("nets.family.Othr", "nets.family.Other"),
        ("nets.famly.Other", "nets.family.Other"),
        ("nest.family.Other", "nets.family.Other"),
        ("nets.famly.Othre", "nets.family.Other"),
        ("nets.Other", "nets.family.Other"),
        ("nets.family.maek", "nets.family.make"),
    ],
)
def test_wrong_targets_name_the_nearest(nets, wrong, right):
    assert suggestion(wrong) == right
    with pytest.raises(ConfigError, match=rf"'{wrong}' cannot be found \(did you mean '{right}'\?\)"):
        read(wrong)


@pytest.mark.parametrize(
    "wrong", ["zzzzqq.Thing", "nets.family.Xylophone", "nets..Net", ".nets.Net", "nets.family.Other.", "a b.c", "nets.fam-ily.X"]
)
def test_what_is_like_nothing(nets, wrong):
    with pytest.raises(ConfigError, match="cannot be found"):
        read(wrong)


def test_a_module_is_no_target(nets):
    with pytest.raises(ConfigError, match=r"is a module") as caught:
        read("nets.family")
    assert "Net, Other, Heir, later, make" in caught.value.fix


def test_load_wants_something_callable(nets):
    (nets / "__init__.py").write_text("")
    (nets / "plain.py").write_text("number = 3\n")
    with pytest.raises(ConfigError, match="neither a class nor a function"):
        load("nets.plain.number")
    with pytest.raises(ConfigError, match="cannot be found"):
        load("nets.plain.nummer")


def test_locate_tells_definitions_from_imports():
    assert locate("cnntrain.config.recipe.check").definition is not None
    assert locate("cnntrain.config.source.importlib.import_module").definition is None


def test_finding_a_submodule_imports_no_parent(tmp_path):
    code = """
        import sys
        from cnntrain.config.source import find_module
        assert find_module("torch.nn.modules.linear").path.name == "linear.py"
        assert not [name for name in sys.modules if name.split(".")[0] in ("torch", "hydra")]
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)
