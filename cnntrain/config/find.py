"""Where the config files are: the shipped ``conf/``, and the user's own beside the work."""

import os
from pathlib import Path

from cnntrain.errors import ConfigError

Files = dict[str, dict[str, Path]]


def shipped() -> Path:
    """The shipped config folder: inside the installed package, or beside it in a working tree."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parent / "conf"):
        if (folder / "train.yaml").is_file():
            return folder
    raise ConfigError("cnntrain's own conf/ is missing", where=str(package), fix="install cnntrain again")


def folders(config_dir: str | None = None, *, searched: tuple[str, ...] = ()) -> list[Path]:
    """The shipped folder, then the user's: ``config_dir``, or ``./conf`` if there is one; then those of hydra.searchpath.

    Raises:
        ConfigError: a folder does not exist, or two folders hold a file of the same name, of which Hydra would hide one.
    """
    found = [shipped()]
    asked = [] if config_dir is None else [(config_dir, "--config-dir")]
    asked += [(text.removeprefix("file://"), "hydra.searchpath") for text in searched if not text.startswith(("pkg://", "structured://"))]
    for text, source in asked:
        folder = Path(os.path.expanduser(text)).absolute()
        if not folder.is_dir():
            raise ConfigError(f"there is no folder {text}", where=source, fix=f"give {source} an existing folder")
        found.append(folder)
    if config_dir is None and Path("conf").is_dir():
        found.insert(1, Path("conf").absolute())
    unique: list[Path] = []
    for folder in found:
        if not any(folder.samefile(other) for other in unique):
            unique.append(folder)
    _refuse_twins(unique)
    return unique


def led_by(where: list[Path], verb: str) -> list[Path]:
    """The folders with the one that holds the verb's file first: Hydra looks for a primary config nowhere else."""
    return sorted(where, key=lambda folder: not (folder / f"{verb}.yaml").is_file())


def files(where: list[Path]) -> Files:
    """All config files by group and option; the verbs stand under the group ``""``."""
    found: Files = {"": {}}
    for folder in where:
        for path in sorted(folder.rglob("*.yaml")):
            group = path.parent.relative_to(folder).as_posix()
            found.setdefault("" if group == "." else group, {}).setdefault(path.stem, path)
    return found


def _refuse_twins(where: list[Path]) -> None:
    seen: dict[Path, Path] = {}
    for folder in where:
        for path in sorted(folder.rglob("*.yaml")):
            name = path.relative_to(folder)
            if name in seen:
                raise ConfigError(f"{path} and {seen[name]} have the same name, so one would hide the other", fix=f"rename {path}")
            seen[name] = path
