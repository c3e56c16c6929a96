"""The command line: the first word is a verb, a verb is a primary config, and every error is one line with a way out."""

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cnntrain.config import find, outline
from cnntrain.config.quote import path_word
from cnntrain.config.suggest import did_you_mean, nearest
from cnntrain.engine.signals import ending_the_command
from cnntrain.errors import CheckpointError, CnntrainError, ConfigError
from cnntrain.streams import begin_in_utf8, unbreakable_stdout

if TYPE_CHECKING:
    from cnntrain.config.compose import Composer

# Each flag's spellings, and whether a value follows.
_FLAGS = {
    "help": (("--help", "-h"), False),
    "version": (("--version",), False),
    "multirun": (("--multirun", "-m"), False),
    "resolve": (("--resolve",), False),
    "cfg": (("--cfg", "-c"), True),
    "package": (("--package", "-p"), True),
    "config_dir": (("--config-dir", "-cd"), True),
    "job": (("--job",), True),  # of the sweep's launcher: run the job that this folder holds
}


class Arguments(NamedTuple):
    """A command line, taken apart. ``named``: the verb was said, it is not the default."""

    verb: str
    named: bool
    words: list[str]
    flags: dict[str, str]


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line and return its exit code (see DESIGN section 7)."""
    process = argv is None  # it ends with this
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == ["--complete"]:
        return _complete(argv[1:])
    if process:
        begin_in_utf8()
    with unbreakable_stdout(), ending_the_command(for_good=process):
        try:
            arguments = take_apart(argv)
            _wait_politely()
            if "job" in arguments.flags:
                return _stored(Path(arguments.flags["job"]))
            if not _answer(arguments):
                Invocation(arguments, [_program() if process else "cnntrain", *argv]).run()
            return 0
        except SystemExit as leave:
            return leave.code if isinstance(leave.code, int) else 1
        except BaseException as error:
            # Imported here: it needs pydantic, and --help has no time for that.
            from cnntrain.job import tell

            return tell(error, debug=_debug(argv) or getattr(error, "debug", False), log=getattr(error, "log", None))


def call(verb: str, *words: str, **keys: Any) -> dict[str, Any]:
    """What the command line does, from Python: ``call("train", "model=resnet18", epochs=3)`` returns the task's result.

    Raises:
        CnntrainError: whatever the command line would have told.
    """
    from cnntrain.config.quote import literal

    found = list(words) + [f"{key}={literal(value)}" for key, value in keys.items()]
    arguments = take_apart([verb, *found])
    return Invocation(arguments, ["cnntrain", verb, *found]).run()


def take_apart(argv: Sequence[str]) -> Arguments:
    """Flags, verb and words.

    Raises:
        ConfigError: a flag or verb that does not exist.
    """
    spelled = {spelling: name for name, (spellings, _) in _FLAGS.items() for spelling in spellings}
    flags: dict[str, str] = {}
    words: list[str] = []
    rest = list(argv)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-"):
            words.append(word)
            continue
        spelling, equals, value = word.partition("=")
        name = spelled.get(spelling)
        if name is None:
            raise ConfigError(f"there is no flag {spelling!r}{did_you_mean(spelling, spelled)}", fix="see cnntrain --help")
        if _FLAGS[name][1]:
            value = value if equals or not rest else rest.pop(0)
            if not value:
                raise ConfigError(f"{spelling} needs a value", fix=f"write {spelling} VALUE")
        flags[name] = value or "true"
    verbs = find.files(find.folders(flags.get("config_dir")))[""]
    if words and words[0] in verbs:
        _refuse_bare_paths(verbs[words[0]], words[1:] if "help" not in flags else [])
        return Arguments(words[0], True, words[1:], flags)
    if words and "=" not in words[0] and not words[0].startswith(("~", "+")) and "help" not in flags:  # which has pages of such words
        fix = f"use one of {', '.join(verbs)}, or KEY=VALUE (cnntrain --help)"
        raise ConfigError(f"there is no verb {words[0]!r}{did_you_mean(words[0], verbs)}", fix=fix)
    return Arguments("train", False, words, flags)


def _refuse_bare_paths(verb: Path, words: Sequence[str]) -> None:
    """Raise ConfigError for ``cnntrain resume outputs/first``: the fix is that word with the key that has no value yet."""
    given = {word.partition("=")[0] for word in words if "=" in word}
    wanted = [key.name for key in outline.read(verb).keys if key.default == "???" and key.name not in given]
    for word in words:
        if wanted and "=" not in word and os.path.exists(word):
            key = wanted[0] if word.endswith(".safetensors") else wanted[-1]  # predict wants pictures, too
            raise ConfigError(f"{word!r} stands without a key", where="command line", fix=path_word(f"{key}={word}"))


class Invocation:
    """One command, on its way from words to the task's result."""

    def __init__(self, arguments: Arguments, command: list[str]) -> None:
        self.verb, self.flags, self.command = arguments.verb, arguments.flags, command
        self.words = [path_word(word) for word in arguments.words]

    def run(self) -> dict[str, Any]:
        """Compose, check, create the folder, call the task; or print the config, or sweep."""
        from cnntrain.config import compose

        try:
            here = str(Path.cwd())
        except FileNotFoundError as error:
            raise CheckpointError("the working folder is gone", where="the shell", fix="cd to a folder that is there") from error
        folders = find.led_by(find.folders(self.flags.get("config_dir"), searched=compose.searched(self.words)), self.verb)
        if here not in sys.path and "" not in sys.path:
            sys.path.append(here)  # last, so that the user's random.py hides nobody's
        with compose.session(folders):
            composer = compose.Composer(self.verb, folders, many="multirun" in self.flags)
            if "cfg" in self.flags:
                print(composer.show(self.words, self.flags["cfg"], self.flags.get("package"), resolve="resolve" in self.flags), end="")
                return {}
            if self.verb == "resume":
                return self._resume(composer)
            if "multirun" in self.flags:
                from cnntrain.sweep import sweep

                return sweep(composer, self.words, self.command)
            return self._single(composer)

    def _single(self, composer: "Composer") -> dict[str, Any]:
        from cnntrain.config import run_folder
        from cnntrain.job import Job

        composed = composer(self.words)
        job = Job.of(composed.tree, files=composed.files)
        for note in composed.notes:
            print(f"note: {note}")
        folder, made = None, []
        if job.takes_run:
            path = Path(composed.setting("run.dir"))
            there = {one for one in (path, *path.parents) if os.path.exists(one)}
            folder = run_folder.create(path, given=composed.given("run.dir"))
            made = [one for one in (folder, *folder.parents) if one not in there]
        return _with_log(job, folder, self.command, made)

    def _resume(self, composer: "Composer") -> dict[str, Any]:
        from cnntrain.config.compose import parse
        from cnntrain.config.stored import lay_over, read_config
        from cnntrain.engine.lock import Lock
        from cnntrain.job import Job

        if "multirun" in self.flags:
            raise ConfigError("one run is resumed at a time", where="-m", fix="leave out -m")
        own = {key.name for key in composer.outline.keys}
        mine = [word for word in self.words if word.lstrip("+").partition("=")[0].split(".")[0] in own | {"hydra"}]
        for word in self.words:
            key, _, value = word.lstrip("+").partition("=")
            if word not in mine and not any(one.startswith("run=") for one in mine) and nearest(key, own) == "run":
                raise ConfigError(f"there is no key {key!r} (did you mean 'run'?)", where=word, fix=f"run={value}")
        tree = composer(mine).tree
        folder = Path(str(tree["run"]))
        read_config(folder)  # if no run is there, that is said before a lock is left there
        with Lock(folder) as lock:  # before its config is read: another process may be about to change that
            config, changes = lay_over(read_config(folder), parse([word for word in self.words if word not in mine]))
            stored = Job.of({**config, "debug": tree["debug"]}, trust=tree["trust"])
            from cnntrain.task.resume import resume

            try:
                return resume(run=str(folder), config=stored.config, changes=changes, command=self.command, trust=tree["trust"], lock=lock)
            except BaseException as error:
                error.log = folder / "train.log"  # type: ignore[attr-defined]
                raise


def _stored(folder: Path) -> int:
    """Run the job that a sweep has laid down in a folder."""
    from cnntrain.sweep import run_stored

    if not (folder / "job.json").is_file():
        raise ConfigError(f"{folder} holds no job of a sweep", where="--job", fix="leave out --job, which is for the sweep itself")
    return run_stored(folder)


def _with_log(job: Any, folder: Path | None, command: list[str], made: list[Path]) -> dict[str, Any]:
    """Call the task; an error remembers where its traceback went, and whether it is to be shown."""
    try:
        return job.call(folder, command, made=made)
    except BaseException as error:
        error.log = folder / "train.log" if folder is not None else None  # type: ignore[attr-defined]
        error.debug = job.settings.debug  # type: ignore[attr-defined]
        raise


def _program() -> str:
    """What the user types for this program: its name, or its path where the shell would not find that name."""
    return sys.argv[0] if Path(sys.argv[0]).name == "cnntrain" and shutil.which("cnntrain") is None else "cnntrain"


def _wait_politely() -> None:
    """Let OpenMP's threads look for work only briefly before they sleep, as long as torch is not loaded; the user's own settings win.

    A thread that waits for the others burns its core, by default for so long that on a machine with other work nobody gets on: a step of
    LeNet-5 on two threads took 500 ms there, with a count of 10,000 it took 140 ms; where nothing else runs that cost up to 6 %.
    Only GNU's library reads it, which torch's wheels for Linux use. The processes of a sweep inherit it.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "20000")


def _answer(arguments: Arguments) -> bool:
    """Questions that need no config: help and version."""
    if "help" in arguments.flags:
        from cnntrain.config.help import render

        files = find.files(find.folders(arguments.flags.get("config_dir")))
        print(render(files, arguments.verb, arguments.words, whole=not arguments.named), end="")
        return True
    if "version" in arguments.flags:
        import cnntrain

        print(f"cnntrain {cnntrain.__version__}")
        return True
    return False


def _complete(arguments: Sequence[str]) -> int:
    """Words for the shell; a broken config folder is no reason to write into the user's line."""
    from cnntrain.config.complete import complete

    try:
        for word in complete(find.files(find.folders()), os.environ, arguments):
            print(word)
    except (CnntrainError, OSError):
        return 1
    return 0


def _debug(argv: Sequence[str]) -> bool:
    return any(word.lstrip("+").lower() in ("debug=true", "debug=1", "debug=yes", "debug=on") for word in argv)
