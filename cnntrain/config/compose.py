"""Composes a verb's config with Hydra: words of the command line in, one plain tree out, every failure told as a ConfigError."""

import codecs
import glob
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from cnntrain.config import find
from cnntrain.config.chosen import keys
from cnntrain.config.experiment import choices_of, content_of, leave_out
from cnntrain.config.failures import missing, translate
from cnntrain.config.outline import read
from cnntrain.config.overlay import lay, split
from cnntrain.config.quote import quote
from cnntrain.config.words import leaves, refuse_unknown_keys, refuse_wrong_words
from cnntrain.errors import ConfigError

_QUOTED_KEY = re.compile(r"""([{,]\s*)["']([^"'{}:,]+)["']\s*:""")  # Hydra's grammar takes no quotes in {"*.bias": 64}; JSON wants them
_SYNTAX = set("\"'[]{}(),\\$=")
_BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_OUR_SWEEPER = "hydra_plugins.cnntrain_launcher.sweeper.CheckedSweeper"
# What Hydra, omegaconf and PyYAML raise for what a user wrote; anything else is a bug of ours and passes.
FAILURES = (HydraException, OmegaConfBaseException, YAMLError, ValueError, OSError, RecursionError, AssertionError)


class Composed(NamedTuple):
    """A verb's config: ``tree`` plain and resolved, without ``hydra``; ``config`` as Hydra composed it, with its own node.

    ``files`` gives for each place of the tree the file that its keys came from, ``notes`` what the user is to be told.
    """

    tree: dict[str, Any]
    config: DictConfig
    files: dict[str, str]
    notes: list[str]

    @property
    def choices(self) -> dict[str, Any]:
        """The option that each group has, by group."""
        return choices_of(self.config.hydra)

    def setting(self, key: str) -> str:
        """A resolved value below ``hydra``, such as ``run.dir``.

        Raises:
            ConfigError: it is empty, which would be the working folder.
        """
        text = str(OmegaConf.select(self.config, f"hydra.{key}"))
        if not text.strip():
            raise ConfigError(f"hydra.{key} is empty", where=f"hydra.{key}=", fix=f"hydra.{key}=outputs/NAME, or leave it out")
        return text

    def pattern(self, key: str) -> str:
        """The same as a pattern of file names: ``*`` for each part that was only known when it was asked, such as the time."""
        parent, _, last = f"hydra.{key}".rpartition(".")
        text = str(OmegaConf.select(self.config, parent)._get_node(last)._value())
        return "*".join(glob.escape(part) for part in re.split(r"\$\{[^}]*\}", text))

    def given(self, key: str) -> bool:
        """Whether the command line itself sets ``hydra.KEY``."""
        return any(word.lstrip("+").startswith(f"hydra.{key}=") for word in self.config.hydra.overrides.hydra)


class Composer:
    """Composes configs of one verb; to be used inside :func:`session`. ``many``: they are a sweep's, and differ in few words."""

    def __init__(self, verb: str, where: Sequence[Path], *, many: bool = False) -> None:
        self.verb, self.where, self.many = verb, where, many
        self._bases: dict[tuple[str, ...], DictConfig] = {}  # of a sweep, by the words that choose files
        self.files = find.files(list(where))
        self.outline = read(self.files[""][verb])
        self._free = tuple(f"{key.name}." for key in self.outline.keys if key.default == "{}")  # below them, the user names the keys

    def __call__(self, words: Sequence[str]) -> Composed:
        """Compose one run.

        Raises:
            ConfigError: an unknown key, group or option, a file that cannot be read, a value that is missing.
        """
        overrides = self._parse(words)
        refuse_wrong_words(overrides, self.verb, self.outline.choices, self.files)
        kept = [override for override in overrides if not self._is_default(override)]
        known = [key.name for key in keys(self.files, self.verb, list(words))]
        own = [override.key_or_group for override in kept if not self._is_group(override)]
        if any(not _is_known(key, known) for key in own if not key.startswith("hydra.")):
            # Probably a typo, and then composing all of it first would be time lost.
            with told(self):
                refuse_unknown_keys(kept, self._base(kept), self._is_group, self.files)
        config = self._compose(kept)
        if any(override.is_delete() for override in kept):
            refuse_unknown_keys(kept, self._base(kept), self._is_group, self.files)
        with told(self):
            left = leave_out(config, config.hydra, self.files, self.verb)
            raw = OmegaConf.to_container(config, resolve=False)
            absent = [key for key, value in leaves(raw) if value == "???" and not key.startswith("hydra.")]
            given = [*own, *(key for one in left for key in one.keys)]
            absent += [key for key in self._left_open(config) if not any(key == one or key.startswith(f"{one}.") for one in given)]
            if absent:
                raise missing(self.verb, list(dict.fromkeys(absent)), self.files)
            tree = plain(config)
        for group, text in self.outline.choices.items():
            if text == "null" and group != "experiment":
                tree.setdefault(group, None)
        composed = Composed(tree, config, {}, [one.note for one in left])
        return composed._replace(files=self._sources(composed))

    def combinations(self, words: Sequence[str]) -> list[list[str]]:
        """The words of each job of a sweep by Hydra's basic sweeper: the product of all values that are separated by commas.

        Another sweeper chooses by itself; then there is one list, without the swept keys.
        """
        overrides = self._parse(words)
        hydra = self._unswept(overrides).hydra
        for plugin, ours in (("launcher", "cnntrain"), ("sweeper", "basic")):
            target = str(hydra[plugin].get("_target_", ""))
            if not target.startswith(("hydra_plugins.", "hydra._internal.core_plugins.")):
                raise ConfigError(f"{target} is no {plugin} of Hydra", where=f"hydra.{plugin}._target_", fix=f"hydra/{plugin}={ours}")
        if not str(hydra.sweeper.get("_target_", "")).endswith("BasicSweeper"):
            return [[_line(override) for override in overrides if not override.is_sweep_override()]]
        swept = [f"{key}={value}" for key, value in (hydra.sweeper.params or {}).items()]
        axes: dict[str, list[str]] = {}
        for override in self._parse([*swept, *words]):
            key = _key(override)
            if override.is_sweep_override() and not override.is_discrete_sweep():
                raise ConfigError("this sweep has no end", where=_line(override), fix=f"list the values: {key}=1,2,3")
            # Spelled as BasicSweeper spells them, so that its jobs are found again.
            each = override.sweep_string_iterator() if override.is_sweep_override() else [override.get_value_element_as_str()]
            axes[key] = [f"{key}={value}" for value in each] if not override.is_delete() else [_line(override)]
            if not axes[key]:
                raise ConfigError("this sweep has no values", where=_line(override), fix=f"list the values: {key}=A,B,C")
        return [[word for word in job if not word.startswith("hydra.searchpath=")] for job in itertools.product(*axes.values())]

    def multirun(self, words: Sequence[str], folder: Path, task_function: Callable[[DictConfig], Any]) -> None:
        """Let Hydra's sweeper and launcher run the jobs, with their folders in ``folder``."""
        overrides = self._parse(words)
        basic = self._unswept(overrides).hydra.sweeper["_target_"] == _BASIC_SWEEPER
        kept = [override for override in overrides if not self._is_default(override) and override.key_or_group != "hydra.sweep.dir"]
        words = [*self._search_path(), f"hydra.sweep.dir={quote(str(folder))}", *map(_line, kept)]
        if basic:
            words.append(f"hydra.sweeper._target_={_OUR_SWEEPER}")
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            hydra.multirun(self.verb, task_function, words, with_log_configuration=False)
        except (HydraException, OmegaConfBaseException) as error:
            raise translate(error, self.outline.choices, self.files) from error

    def show(self, words: Sequence[str], kind: str, package: str | None, *, resolve: bool) -> str:
        """The composed config as YAML, as Hydra's ``--cfg job|hydra|all`` prints it; values may still be missing.

        Raises:
            ConfigError: another kind, or a package that does not exist.
        """
        if kind not in ("job", "hydra", "all"):
            raise ConfigError(f"--cfg prints no {kind!r}", where="--cfg", fix="--cfg job, --cfg hydra or --cfg all")
        overrides = self._parse(words)
        refuse_wrong_words(overrides, self.verb, self.outline.choices, self.files)
        config = self._compose([override for override in overrides if not self._is_default(override)])
        with told(self):
            leave_out(config, config.hydra, self.files, self.verb)
            tree = OmegaConf.to_container(config, resolve=False)
            assert isinstance(tree, dict)
            if resolve:
                tree |= plain(config)
            for key in ("help", "hydra_help"):  # pages of text
                tree["hydra"].pop(key, None)
            shown = {key: value for key, value in tree.items() if kind == "all" or (key == "hydra") == (kind == "hydra")}
            found = OmegaConf.select(OmegaConf.create(shown), package) if package and package != "_global_" else OmegaConf.create(shown)
        if found is None:
            raise ConfigError(f"the config has no part {package!r}", where="--package", fix="leave it out to see the whole config")
        return OmegaConf.to_yaml(found) if OmegaConf.is_config(found) else f"{found}\n"

    def _parse(self, words: Sequence[str]) -> list[Override]:
        """The words; ``knobs.column=2`` makes its key, where the verb's own is a dict for the user to fill."""
        return parse([f"++{word}" if word.startswith(self._free) else word for word in words])

    def _unswept(self, overrides: Sequence[Override]) -> DictConfig:
        """What all jobs of a sweep have in common."""
        return self._compose([override for override in overrides if not override.is_sweep_override() and not self._is_default(override)])

    def _compose(self, overrides: Sequence[Override]) -> DictConfig:
        with told(self):
            try:
                lines = [_line(override) for override in overrides]
                return (self._laid_over(lines) if self.many else None) or self._by_hydra(lines)
            except FAILURES:
                # Which word was it? The tree without single keys knows all right names; if even that fails, it is a file.
                refuse_unknown_keys(overrides, self._base(overrides), self._is_group, self.files)
                raise

    def _by_hydra(self, lines: Sequence[str]) -> DictConfig:
        return hydra_compose(self.verb, overrides=[*self._search_path(), *lines], return_hydra_config=True)

    def _laid_over(self, lines: Sequence[str]) -> DictConfig | None:
        """The same config from files that were composed before; None where only Hydra can tell, and if only by an error."""
        try:
            overrides = parse(lines)
            parts = split(overrides, self._is_group)
            if parts is None:
                return None
            key = tuple(str(override.input_line) for override in parts[0])
            if key not in self._bases:
                self._bases[key] = self._by_hydra(key)
            return lay(self._bases[key], parts[1], overrides)
        except FAILURES:
            return None

    def _base(self, overrides: Sequence[Override]) -> dict[str, Any]:
        """The tree that the groups alone make, nothing resolved."""
        config = self._by_hydra([_line(override) for override in overrides if self._is_group(override)])
        tree = OmegaConf.to_container(config, resolve=False)
        assert isinstance(tree, dict)
        return {str(key): value for key, value in tree.items()}

    def _search_path(self) -> list[str]:
        own = [quote(f"file://{folder}") for folder in self.where[1:]]
        return [f"hydra.searchpath=[{','.join(own)}]"] if own else []

    def _is_group(self, override: Override) -> bool:
        return override.key_or_group in self.files or override.key_or_group in self.outline.choices or "/" in override.key_or_group

    def _is_default(self, override: Override) -> bool:
        """``experiment=null`` where null is the default: Hydra would not take it. The search path is ours to give."""
        if override.key_or_group == "hydra.searchpath":
            return True
        can_be = self.outline.choices.get(override.key_or_group) == "null" and not override.is_sweep_override() and not override.is_delete()
        return can_be and override.value() is None

    def _left_open(self, config: DictConfig) -> list[str]:
        """The keys that the chosen experiment has as ``???``: Hydra would silently let the values stand that it is laid over."""
        return [key for key, value in leaves(content_of(config.hydra, self.files)) if value == "???"]

    def _sources(self, composed: Composed) -> dict[str, str]:
        """Of the user's own files only: in ours, a wrong key came from elsewhere."""
        sources: dict[str, str] = {}
        for group, chosen in composed.choices.items():
            for option in chosen if isinstance(chosen, list) or OmegaConf.is_list(chosen) else [chosen]:
                path = self.files.get(group, {}).get(str(option))
                if path is not None and not path.is_relative_to(find.shipped()):
                    if path.read_bytes().startswith(codecs.BOM_UTF8):
                        # Hydra would not see a package line behind it, and put the keys elsewhere.
                        raise ConfigError("a config file begins with a byte order mark", where=f"{path}:1", fix="save it as plain UTF-8")
                    place = group.replace("/", ".")
                    sources[f"{place}.{option}" if OmegaConf.is_list(chosen) or isinstance(chosen, list) else place] = str(path)
        return sources


@contextmanager
def session(where: Sequence[Path]) -> Iterator[None]:
    """Hydra, set up on the first of the folders, for as long as this lasts (a composer names the others)."""
    with initialize_config_dir(str(where[0]), job_name="cnntrain", version_base="1.3"):
        yield


@contextmanager
def told(composer: Composer) -> Iterator[None]:
    """What goes wrong inside is told as a ConfigError."""
    try:
        yield
    except FAILURES as error:
        raise translate(error, composer.outline.choices, composer.files) from error


def parse(words: Sequence[str]) -> list[Override]:
    """The words by Hydra's override grammar.

    Raises:
        ConfigError: a word is not KEY=VALUE.
    """
    hydra = GlobalHydra.instance()
    parser = OverridesParser.create(hydra.config_loader() if hydra.is_initialized() else None)  # glob(*) asks it for a group's options
    parsed = []
    for word in words:
        try:
            parsed += parser.parse_overrides([word])
        except HydraException as error:
            try:
                parsed += parser.parse_overrides([_quoted(_QUOTED_KEY.sub(r"\1\2:", word))])
            except HydraException:
                raise translate(error, {}, {}) from error
    return parsed


def searched(words: Sequence[str]) -> tuple[str, ...]:
    """The folders that ``hydra.searchpath=[...]`` among the words names."""
    for override in parse([word for word in words if word.lstrip("+").startswith("hydra.searchpath=")]):
        value = override.value()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ConfigError("hydra.searchpath is a list of folders", where=_line(override), fix="hydra.searchpath=[FOLDER]")
        return tuple(str(item) for item in value)
    return ()


def _quoted(word: str) -> str:
    """The word with quotes around a value in letters that Hydra's grammar does not have, such as a folder's: ``data.root=/übung``."""
    key, _, value = word.partition("=")
    return word if value.isascii() or set(value) & _SYNTAX else f"{key}={quote(value)}"


def _is_known(key: str, known: Sequence[str]) -> bool:
    return any(name == key or name.startswith(f"{key}.") for name in known)


def _line(override: Override) -> str:
    """The word as Hydra is to see it."""
    line = override.input_line or ""
    return line.replace(override.get_key_element(), _key(override), 1)


def _key(override: Override) -> str:
    """The word's key. A dict is laid over the one that is there, which may lack its keys: only ``++`` may add some."""
    key = override.get_key_element()
    if override.type is not OverrideType.CHANGE:
        return key
    swept = override.is_sweep_override()
    dicts = (str(text).startswith("{") for text in override.sweep_string_iterator()) if swept and override.is_discrete_sweep() else ()
    return f"++{key}" if any(dicts) or (not swept and isinstance(override.value(), dict)) else key


def output_folder() -> Path:
    """The folder that Hydra made for the job that runs now."""
    return Path(str(HydraConfig.get().runtime.output_dir))


def job_tree(config: DictConfig, composer: Composer) -> dict[str, Any]:
    """The plain tree of the job that Hydra runs now, as :class:`Composer` would make it."""
    leave_out(config, HydraConfig.get(), composer.files, composer.verb)
    return plain(config)


def plain(config: DictConfig) -> dict[str, Any]:
    """All but the node ``hydra``, resolved (an interpolation may lead into that node)."""
    tree: dict[str, Any] = {}
    for key in config:
        value = config[key] if key != "hydra" else None
        if key != "hydra":
            tree[str(key)] = (
                OmegaConf.to_container(value, resolve=True, throw_on_missing=True, enum_to_str=True)
                if OmegaConf.is_config(value)
                else value
            )
    return tree
