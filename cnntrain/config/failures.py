"""What Hydra, omegaconf and PyYAML say when a config cannot be composed, told in one line with a way out."""

import re
import shlex
import traceback
from collections.abc import Iterator, Mapping, Sequence

from hydra.errors import MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError
from yaml.reader import ReaderError

from cnntrain.config.find import Files
from cnntrain.config.outline import read
from cnntrain.config.quote import quote
from cnntrain.config.suggest import nearest
from cnntrain.errors import ConfigError

_NO_MATCH = re.compile(r"(?:In '(?P<file>[^']*)': )?Could not override '(?P<key>[^']*)'")
_KEY = re.compile(r"(\+\+?|~)?\w[\w./@*-]*")
_OF_A_KEY = re.compile(r"[\w./@*~+-]")
_INSIDE = re.compile(r"In '([^']*)': ")


def translate(error: BaseException, choices: Mapping[str, str], files: Files) -> ConfigError:
    """The ConfigError for a failure, made from the most telling exception of its chain."""
    chain = list(_chain(error))
    for link in chain:
        if isinstance(link, ConfigError):
            return link
    for link in chain:
        if isinstance(link, MarkedYAMLError):
            return _yaml(link)
        if isinstance(link, ReaderError):
            return ConfigError(f"a config file cannot be read: {link.reason}", where=str(link.name), fix="save it as plain UTF-8 text")
        if isinstance(link, UnicodeDecodeError):
            return ConfigError("a config file is not UTF-8 text", where=_undecodable(files) or str(link), fix="save it as UTF-8")
        if isinstance(link, OverrideParseException):
            return _word(link)
        if isinstance(link, MissingConfigException):
            return _missing_file(link, files)
        if isinstance(link, RecursionError) and any("defaults_list" in at.filename for at in traceback.extract_tb(link.__traceback__)):
            return ConfigError("a defaults list leads back to its own file", where=_circle(files), fix="remove that entry of defaults")
        if isinstance(link, RecursionError):
            return ConfigError("an interpolation goes round in a circle", fix="let no ${key} lead back to itself")
    for link in chain:
        if isinstance(link, OmegaConfBaseException):
            return _omegaconf(link, next((found[1] for found in map(_INSIDE.match, map(str, chain)) if found), ""), files)
    return _other(error, choices, files)


def missing(verb: str, keys: Sequence[str], files: Files) -> ConfigError:
    """The error for keys that have no value yet (``???``), with what the file says of the first."""
    outline = read(files[""][verb])
    meanings = {key.name: key.meaning for key in outline.keys}
    for group, options in files.items():
        for path in options.values() if group else ():
            meanings |= {f"{group}.{key.name}": key.meaning for key in read(path).keys if key.default == "???"}
    about = meanings.get(keys[0], "")
    return ConfigError(
        f"{verb} needs {' and '.join(keys)}", where="no value is given", fix=f"add {keys[0]}=VALUE" + (f" ({about})" if about else "")
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def _yaml(error: MarkedYAMLError) -> ConfigError:
    mark = error.problem_mark or error.context_mark
    where = f"{mark.name}:{mark.line + 1}" if mark is not None else ""
    problem = error.problem or error.context or "it is not YAML"
    fix = "mend this line"
    if "duplicate key" in problem:
        fix = "remove one of the two"
    elif "'\\t'" in problem:
        fix = "indent with spaces, not tabs"
    return ConfigError(f"a config file cannot be read: {problem}", where=where, fix=fix)


def _word(error: OverrideParseException) -> ConfigError:
    word = error.override
    if "=" not in word:
        return ConfigError(
            f"{word!r} is neither KEY=VALUE nor a flag", where="command line", fix=f"write {word}=VALUE, or see cnntrain --help"
        )
    key, _, value = word.partition("=")
    if not _KEY.fullmatch(key):
        clean = "".join(_OF_A_KEY.findall(key))
        fix = shlex.quote(f"{clean}={value}") if _KEY.fullmatch(clean) else "write KEY=VALUE, with a key of cnntrain --help"
        return ConfigError(f"{key!r} is not a key", where=repr(word), fix=fix)
    if not value.isprintable():
        return ConfigError(f"the value of {key} has characters that cannot be printed", where=repr(word), fix="leave them out")
    quoted = f"{key}=\"'{value}'\"" if not set(value) & set("\\'\"$`!") else shlex.quote(f"{key}={quote(value)}")
    return ConfigError(f"the value of {key} cannot be read", where=word, fix=f"quote it: {quoted}")


def _missing_file(error: MissingConfigException, files: Files) -> ConfigError:
    group, _, option = (error.missing_cfg_file or "").rpartition("/")
    inside = _INSIDE.match(str(error))
    place = _path(inside[1], files) if inside else "command line"
    if not group:
        return ConfigError(_first_line(error), where=place, fix="see cnntrain --help")
    options = list(files.get(group, {})) or sorted(error.options or [])
    near = nearest(option, options)
    # Hydra blames the primary config for what another file overrides in it.
    place = next((str(path) for named in files.values() for path in named.values() if read(path).overrides.get(group) == option), place)
    what = f"{group} has no option {option!r}" + (f" (did you mean {near!r}?)" if near else "")
    return ConfigError(what, where=place, fix=f"{group}={near}" if near else f"choose one of {', '.join(options) or 'its options'}")


def _omegaconf(error: OmegaConfBaseException, inside: str, files: Files) -> ConfigError:
    key = str(getattr(error, "full_key", None) or "")
    text = str(getattr(error, "msg", None) or _first_line(error)).splitlines()[0].rstrip(".")
    fix = f"set {key} to a plain value" if key else "see cnntrain --cfg job"
    if "nvironment variable" in text:
        fix = f"set the variable, or {key}=VALUE"
    elif "Interpolation key" in text:
        fix = f"let {key} name a key that exists, or give it a plain value"
    if inside:
        return ConfigError(text, where=_path(inside, files), fix="mend this file")
    return ConfigError(text, where=key, fix=fix)


def _other(error: BaseException, choices: Mapping[str, str], files: Files) -> ConfigError:
    found = _NO_MATCH.match(str(error))
    if found:
        key = found["key"]
        near = nearest(key.lstrip("/").split("@")[0], choices)
        what = f"there is no group {key!r} to override" + (f" (did you mean {near!r}?)" if near else "")
        where = _path(found["file"], files) if found["file"] else "command line"
        return ConfigError(what, where=where, fix=f"override /{near}" if near else f"use one of {', '.join(choices)}")
    return ConfigError(_first_line(error), fix="see cnntrain --help")


def _path(config: str, files: Files) -> str:
    """The file that Hydra calls GROUP/OPTION."""
    group, _, option = config.rpartition("/")
    path = files.get(group, {}).get(option)
    return str(path) if path is not None else config


def _circle(files: Files) -> str:
    """The first file that names itself in its defaults, if it is as simple as that."""
    for options in files.values():
        for option, path in options.items():
            if re.search(rf"^ *- +{re.escape(option)} *$", path.read_text(encoding="utf-8"), re.MULTILINE):
                return str(path)
    return "defaults"


def _undecodable(files: Files) -> str:
    """The first file that is not UTF-8."""
    for path in (path for options in files.values() for path in options.values()):
        try:
            path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            return str(path)
    return ""
