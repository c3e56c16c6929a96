"""The rules of the house that can be read off its files: what imports what, how long it is, what it may not call, what a YAML lists."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cnntrain.config.recipe import FACTS, TASK_FACTS
from cnntrain.config.signature import read
from cnntrain.config.source import locate

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "cnntrain"
CONF = ROOT / "conf"
MODULES = sorted(PACKAGE.rglob("*.py")) + sorted((ROOT / "hydra_plugins").rglob("*.py"))
YAMLS = sorted(CONF.rglob("*.yaml"))
FACADE = "the public face"
PARTS = ("model", "data", "augment", "loss", "optimizer", "schedule", "objective", "weights")
FLOORS = {"errors": 0, "units": 0, "draws": 0, "config": 1, "layer": 2, **dict.fromkeys(PARTS, 3), "engine": 4, "task": 5}
FLOORS |= {"cli": 6, "job": 6, "sweep": 6, "streams": 6, FACADE: 6}  # the command line is these files; no other stands beside them
TOP = 7  # cnntrain/__init__.py, __main__.py and the launcher see everything
TASK_EXTRAS = {"sweep", "debug", "trust", "hydra", "defaults", "augment", "average"}


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def modules(*, but: tuple[str, ...] = ()) -> list[Any]:
    return [pytest.param(path, id=name_of(path)) for path in MODULES if name_of(path) not in but]


@functools.cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), filename=str(path))


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names that a module imports, anywhere in it; ``from cnntrain import units`` is ``cnntrain.units``."""
    home = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (item.name for item in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = home[: len(home) - node.level + 1] if node.level else ()
            yield from (".".join([*above, *([node.module] if node.module else []), item.name]) for item in node.names)


def room_of(path: Path) -> str:
    """``model`` for cnntrain/model/resnet.py, ``cli`` for cnntrain/cli.py, nothing for the faces."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[1] if parts[0] == "cnntrain" and parts[1] in FLOORS else ""


def rooms_imported(path: Path) -> set[str]:
    """Rooms of cnntrain that a module imports; its public face counts as one."""
    dotted = [name.split(".") for name in imports_of(path)]
    return {parts[1] if len(parts) > 1 else FACADE for parts in dotted if parts[0] == "cnntrain"}


# --- who imports whom


@pytest.mark.parametrize("path", modules())
def test_every_module_has_a_floor(path):
    face = path.relative_to(ROOT).parts[0] == "hydra_plugins" or path.name in ("__init__.py", "__main__.py")
    assert room_of(path) or face, f"{name_of(path)} stands on no floor of DESIGN.md"


@pytest.mark.parametrize("path", modules())
def test_imports_point_down(path):
    floor = FLOORS.get(room_of(path), TOP)
    upward = sorted(room for room in rooms_imported(path) if FLOORS.get(room, TOP) > floor)
    assert not upward, f"{name_of(path)} (floor {floor}) imports {upward}"


@pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in MODULES if room_of(path) in (*PARTS, "layer", "engine")])
def test_a_part_imports_no_other_part_and_the_engine_none(path):
    room = room_of(path)
    others = rooms_imported(path) & set(PARTS) - {room}
    if room == "model":
        others |= rooms_imported(path) & {"config"}
    assert not others, f"{name_of(path)} imports {sorted(others)}"


@pytest.mark.parametrize("path", modules())
def test_only_the_config_side_knows_hydra(path):
    allowed = room_of(path) in ("cli", "config") or path.is_relative_to(ROOT / "hydra_plugins")
    known = {name.split(".")[0] for name in imports_of(path)} & {"hydra", "omegaconf"}
    assert allowed or not known, f"{name_of(path)} imports {sorted(known)}"


# --- how long, and what happens at import


@pytest.mark.parametrize("path", modules())
def test_sizes(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 400, f"{name_of(path)} has {lines} lines"
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = node.end_lineno - node.lineno + 1
            assert length <= 80, f"{name_of(path)}: {node.name} has {length} lines"


@pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in sorted(PACKAGE.rglob("*/__init__.py"))])
def test_package_inits_are_docstrings(path):
    if path == PACKAGE / "__init__.py":
        return
    body = tree_of(path).body
    assert len(body) == 1 and ast.get_docstring(tree_of(path)), f"{name_of(path)} holds more or less than its contract"


@pytest.mark.parametrize("path", modules(but=("cnntrain/__main__.py",)))
def test_nothing_happens_at_import(path):
    calm = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    for node in tree_of(path).body:
        if path.name == "launcher.py" and ast.unparse(node).startswith("ConfigStore.instance().store(group='hydra/launcher'"):
            continue  # Hydra finds a plugin's config in no other way
        quiet = isinstance(node, calm) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        quiet |= isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "__name__ == '__main__'")
        assert quiet, f"{name_of(path)}:{node.lineno} does something at import"


# --- what may not be called


# Calls by their full names, whatever a module calls them: none is allowed.
UNSAFE = {
    *("eval", "exec", "compile", "__import__"),
    *(f"builtins.{name}" for name in ("eval", "exec", "compile", "__import__")),
    *(f"os.{name}" for name in ("system", "popen", "execv", "execvp", "execvpe", "spawnl", "spawnv")),
    *(f"subprocess.{name}" for name in ("getoutput", "getstatusoutput")),
    *(f"{kind}.{name}" for kind in ("pickle", "_pickle", "cPickle", "dill", "cloudpickle") for name in ("load", "loads", "Unpickler")),
    *("marshal.load", "marshal.loads", "shelve.open", "joblib.load", "pandas.read_pickle", "code.interact"),
    *(f"yaml.{name}" for name in ("load", "load_all", "full_load", "full_load_all", "unsafe_load", "unsafe_load_all")),
    *("torch.hub.load", "torch.jit.load", "torch.package.PackageImporter", "torch.utils.cpp_extension.load"),
    *("hydra.utils.instantiate", "hydra.utils.call", "hydra.utils.get_class", "hydra.utils.get_method", "hydra.utils.get_object"),
    *("tempfile.mktemp", "numpy.lib.format.read_array", "logging.config.fileConfig", "xml.etree.ElementTree.parse"),
}
SHELLS = {f"subprocess.{name}" for name in ("run", "Popen", "call", "check_call", "check_output")}
EMPTY_FORMS = ("pickle", "_pickle", "cPickle", "marshal", "dill", "cloudpickle", "shelve", "joblib")


def names_of(tree: ast.Module) -> dict[str, str]:
    """What each imported or reassigned name of a module stands for: ``from pickle import load as l`` makes l ``pickle.load``."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {item.asname: item.name for item in node.names if item.asname}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {item.asname or item.name: f"{node.module}.{item.name}" for item in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name | ast.Attribute):
            full = full_name(node.value, names)
            risky = full in UNSAFE | SHELLS or full in ("torch.load", "numpy.load", "importlib.import_module")
            names |= {target.id: full for target in node.targets if isinstance(target, ast.Name) and risky}
    return names


def full_name(node: ast.expr, names: dict[str, str]) -> str:
    """``pickle.load`` for whatever a module calls it; ``getattr(pickle, "load")`` too."""
    if isinstance(node, ast.Call) and ast.unparse(node.func) == "getattr" and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
        return f"{full_name(node.args[0], names)}.{node.args[1].value}"
    first, dot, rest = ast.unparse(node).partition(".")
    return names.get(first, first) + dot + rest


def faults(tree: ast.Module) -> list[str]:
    """Calls by which data could become code, or that do more than they say."""
    found, names = [], names_of(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = full_name(node.func, names)
        last = called.rpartition(".")[2]
        keywords = {one.arg: ast.unparse(one.value) for one in node.keywords}
        text = node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr)
        forbidden = called in UNSAFE
        forbidden |= last in ("extractall", "extract", "unpack_archive") and "filter" not in keywords
        forbidden |= keywords.get("filter") in ("'fully_trusted'", "None") and last in ("extractall", "extract", "unpack_archive")
        forbidden |= keywords.get("shell", "False") != "False" or (called in SHELLS and bool(text))
        forbidden |= keywords.get("allow_pickle", "False") != "False" or (
            called == "numpy.load" and keywords.get("allow_pickle") != "False"
        )
        forbidden |= keywords.get("weights_only", "True") != "True" or (called == "torch.load" and "weights_only" not in keywords)
        forbidden |= called in ("hashlib.md5", "hashlib.sha1") and keywords.get("usedforsecurity") != "False"
        if forbidden:
            found.append(f"line {node.lineno}: {called}")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in (*EMPTY_FORMS, "builtins", "yaml"):
            found += [f"line {node.lineno}: from {node.module} import {one.name}" for one in node.names if not one.name.endswith("Error")]
        if isinstance(node, ast.ImportFrom):
            found += [f"line {node.lineno}: {one.name}" for one in node.names if f"{node.module}.{one.name}" in UNSAFE | {"torch.load"}]
    return found


@pytest.mark.parametrize("path", modules())
def test_data_never_become_code(path):
    assert not faults(tree_of(path)), name_of(path)


def test_one_function_reads_foreign_weights():
    calls = []
    for path in MODULES:
        tree = tree_of(path)
        names = names_of(tree)
        calls += [name_of(path) for node in ast.walk(tree) if isinstance(node, ast.Call) and full_name(node.func, names) == "torch.load"]
    assert len(calls) <= 1, calls


@pytest.mark.parametrize("path", modules(but=("cnntrain/config/source.py", "cnntrain/__init__.py")))
def test_one_module_imports_by_name(path):
    tree = tree_of(path)
    names = names_of(tree)
    calls = [full_name(node.func, names) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    assert not [called for called in calls if called.rpartition(".")[2] in ("import_module", "__import__")], name_of(path)


@pytest.mark.parametrize(
    "text",
    [
        "pickle.load(f)",
        "pickle.loads(b)",
        "import _pickle as p; p.loads(b)",
        "import pickle as p; p.Unpickler(f).load()",
        "from pickle import load as l; l(f)",
        "from pickle import loads",
        "import pickle; read = pickle.load; read(f)",
        "getattr(pickle, 'loads')(b)",
        "import dill; dill.load(f)",
        "import joblib; joblib.load(p)",
        "import marshal; marshal.loads(b)",
        "import shelve; shelve.open(p)",
        "import pandas as pd; pd.read_pickle(p)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "torch.load(p, weights_only=safe)",
        "import torch as t; t.load(p)",
        "from torch import load",
        "from torch import load as read; read(p)",
        "torch.hub.load(r, m)",
        "from torch import hub; hub.load(r, m)",
        "torch.jit.load(p)",
        "import numpy as np; np.load(p)",
        "np.load(p, allow_pickle=True)",
        "np.load(p, allow_pickle=flag)",
        "yaml.load(t)",
        "yaml.load(t, Loader=yaml.SafeLoader)",
        "yaml.unsafe_load(t)",
        "yaml.full_load(t)",
        "import yaml as y; y.load_all(t)",
        "from yaml import load",
        "eval('1')",
        "exec(t)",
        "compile(t, 'x', 'exec')",
        "import builtins as b; b.eval(t)",
        "run = eval; run(t)",
        "tar.extractall(p)",
        "tar.extract(m, p)",
        "tar.extractall(p, filter='fully_trusted')",
        "shutil.unpack_archive(a, p)",
        "subprocess.run(c, shell=True)",
        "subprocess.run(c, shell=flag)",
        "subprocess.run('rm -r x')",
        "from subprocess import run; run(f'rm {x}')",
        "os.system(c)",
        "from os import system as s; s(c)",
        "os.popen(c)",
        "subprocess.getoutput(c)",
        "from hydra.utils import instantiate; instantiate(c)",
        "import hydra; hydra.utils.instantiate(c)",
        "from hydra.utils import get_class as g; g(n)",
        "__import__(n)",
        "tempfile.mktemp()",
        "from tempfile import mktemp",
        "hashlib.md5(b)",
    ],
)
def test_the_rule_sees_each_fault(text):
    assert faults(ast.parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "model.eval()",
        "model.compile(mode=m)",
        "re.compile(t)",
        "tar.extractall(p, filter='data')",
        "torch.load(p, weights_only=True)",
        "np.load(p, allow_pickle=False)",
        "yaml.safe_load(t)",
        "json.load(f)",
        "subprocess.run(['ls', p])",
        "hashlib.md5(b, usedforsecurity=False)",
        "hashlib.sha256(b)",
        "tempfile.mkstemp()",
    ],
)
def test_the_rule_sees_no_others(text):
    assert not faults(ast.parse(text))


# --- YAML against signatures


def content(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8")) or {}


def nodes(value: Any, place: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """All nodes with a ``_target_`` in a file, with the place where they stand in the tree."""
    if isinstance(value, dict):
        if "_target_" in value:
            yield place, value
        for key, item in value.items():
            if key not in ("defaults", "hydra"):
                yield from nodes(item, f"{place}.{key}" if place else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item, f"{place}[]")


def from_defaults(tree: dict[str, Any], path: Path) -> set[str]:
    """Keys that a file's defaults list brings in: groups by their names, and all keys of a sibling that it builds on."""
    keys: set[str] = set()
    for entry in tree.get("defaults", []):
        if isinstance(entry, dict):
            for group in entry:
                if not group.startswith("override "):
                    package = group.rpartition("@")[2] if "@" in group else group
                    keys.add(package.removeprefix("_global_.").strip("/").split("/")[0])
        elif entry != "_self_":
            sibling = path.parent / f"{entry}.yaml"
            keys |= set(content(sibling)) | from_defaults(content(sibling), sibling)
    return keys


def is_written(target: str) -> bool:
    """Whether a verb's task has its file already; parts have theirs from the start, so that a wrong name is an error there."""
    parts = target.split(".")
    return parts[:2] != ["cnntrain", "task"] or ROOT.joinpath(*parts[:3]).with_suffix(".py").exists()


NODES = [
    pytest.param(path, place, node, id=f"{path.relative_to(CONF)}:{place}")
    for path in YAMLS
    for place, node in nodes(content(path), "" if path.parent == CONF else path.parent.relative_to(CONF).as_posix().split("/")[0])
    if is_written(node["_target_"])
]


@pytest.mark.parametrize(("path", "place", "node"), NODES)
def test_a_yaml_lists_exactly_its_targets_parameters(path, place, node):
    located = locate(node["_target_"])
    if located.target.startswith("cnntrain."):
        assert located.definition is not None, f"{located.target} is not defined in the file that it names"
    signature = read(node["_target_"])
    assert not signature.open, f"{signature.target} takes **others, so that no misspelt key can be told"
    group = "augment" if place.startswith("augment.") else place  # whose operations are given its facts
    facts = set(FACTS.get(group, ())) if place else set(TASK_FACTS.get(signature.name, ("run",)))
    wanted = set(signature.parameters) - facts
    listed = set(node) - {"_target_"}
    if node is not None and set(content(path)) & set(node) == set(node):  # the file's own node, not one within it
        listed |= from_defaults(content(path), path)
    listed -= {"defaults", "hydra"}
    if not place:
        listed -= TASK_EXTRAS - wanted | {"experiment"}
    assert listed == wanted, f"missing: {sorted(wanted - listed)}, too many: {sorted(listed - wanted)}"


@pytest.mark.parametrize(("path", "place", "node"), NODES)
def test_the_listed_values_pass_the_check(path, place, node):
    from cnntrain.config.recipe import check
    from cnntrain.errors import ConfigError

    plain = {key: value for key, value in node.items() if key not in TASK_EXTRAS and value != "???"}
    try:
        check(plain, place=place)
    except ConfigError as error:
        left = [what for what in error.what.split("; ") if "missing" not in what and "give " not in what]
        assert not left, f"{path.relative_to(CONF)}: {left}"


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(CONF))) for path in YAMLS])
def test_every_key_says_what_it_is(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    heading = [line.lstrip("# ") for line in lines if line.startswith("#")]
    meanings = [text for text in heading if text and not text.startswith(("@package", "example:"))]
    assert lines[0].startswith("#") and meanings, "the first line says what it is"
    silent = [key for key, line in commented_lines(path) if "#" not in line]
    assert not silent, f"{path.relative_to(CONF)}: no comment at {silent}"


def commented_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Keys that must say what they mean, with their lines: all with a value of their own, outside ``defaults`` and ``hydra``."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()

    def below(mapping: yaml.MappingNode, top: bool) -> Iterator[tuple[str, str]]:
        for key, value in mapping.value:
            if key.value == "_target_" or (top and key.value in ("defaults", "hydra")):
                continue
            if isinstance(value, yaml.MappingNode) and not value.flow_style:
                yield from below(value, False)
            else:
                block = isinstance(value, yaml.SequenceNode) and not value.flow_style  # its comment stands beside the key
                last = key.start_mark.line if block else value.end_mark.line
                yield key.value, "\n".join(lines[key.start_mark.line : last + 1])

    root = yaml.compose(text, Loader=yaml.SafeLoader)  # nodes with their lines, nothing built
    if isinstance(root, yaml.MappingNode):
        yield from below(root, True)


PART_FILES = [path for part in PARTS for path in sorted((PACKAGE / part).glob("*.py")) if path.name != "__init__.py"]


@pytest.mark.parametrize("path", [pytest.param(path, id=name_of(path)) for path in PART_FILES])
def test_every_part_is_named_by_a_yaml_or_used_by_a_sibling(path):
    module = f"cnntrain.{path.parent.name}.{path.stem}"
    named = any(param.values[2]["_target_"].startswith(f"{module}.") for param in NODES)
    siblings = [sibling for sibling in path.parent.glob("*.py") if sibling != path]
    used = any(name == module or name.startswith(f"{module}.") for sibling in siblings for name in imports_of(sibling))
    assert named or used, f"no YAML names {module}, and no file beside it imports it"


@pytest.mark.parametrize("path", [pytest.param(path, id=str(path.relative_to(CONF))) for path in YAMLS if path.parent == CONF])
def test_a_verb_is_a_task_of_its_name(path):
    assert content(path)["_target_"] == f"cnntrain.task.{path.stem}.{path.stem}"
    if not is_written(f"cnntrain.task.{path.stem}"):
        pytest.skip(f"cnntrain/task/{path.stem}.py is not written yet")
