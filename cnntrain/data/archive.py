"""Files out of a verified archive: only those that are wanted, all or none, and in bounded memory and time whatever the archive holds.

Beside them lies ``SHA256SUMS`` (what ``sha256sum -c`` reads), made while they were unpacked. Every later use compares the file that it
reads with it, which takes a tenth of a second for CIFAR. A folder that somebody else has unpacked has none: there the readers' own checks
of sizes, labels and counts are all.
"""

import gzip
import hashlib
import os
import shutil
import tarfile
import zlib
from collections.abc import Collection
from pathlib import Path

from cnntrain.errors import DataError

SUMS = "SHA256SUMS"
MEMBER_LIMIT = 1 << 28  # bytes: no published file is larger
TOTAL_LIMIT = 1 << 29  # of an unpacked archive
MOST_MEMBERS = 1000
ONCE_LIMIT = 1 << 20  # that the reader of headers may ask for at once
BLOCK = 1 << 16


class _Bounded:
    """An unpacked archive as a file that ends the reading where a published one would have ended long ago."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file = file
        self.tell = file.tell

    def read(self, size: int) -> bytes:
        """So many bytes, which is also what an extended header says of itself."""
        if not 0 <= size <= ONCE_LIMIT:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self._check(self.tell() + size)
        return self.file.read(size)

    def seek(self, place: int) -> int:
        """Go on there: all before it has to be unpacked."""
        self._check(place)
        return self.file.seek(place)

    def _check(self, place: int) -> None:
        if not 0 <= place <= TOTAL_LIMIT:
            raise tarfile.ReadError(f"more than {TOTAL_LIMIT:,} bytes")


def unpack(archive: Path, names: Collection[str], folder: Path) -> None:
    """Put the files of these names into ``folder``: all of them or none.

    Only regular files with an expected name are read, each written under that name: a path, link or device in the archive has no effect.

    Raises:
        DataError: the archive is damaged, lacks a file or unpacks to more than any that is published; or there is no room.
    """
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # left by a killed run
    wanted, sums = set(names), {}
    try:
        partial.mkdir()
        with gzip.open(archive) as packed, tarfile.open(fileobj=(bounded := _Bounded(packed)), mode="r:") as tar:  # type: ignore[arg-type]
            for number, member in enumerate(tar):
                if number == MOST_MEMBERS:
                    raise tarfile.ReadError(f"more than {MOST_MEMBERS:,} members")
                file = member.name.rpartition("/")[2]
                if member.isreg() and not member.issparse() and file in wanted and member.size <= MEMBER_LIMIT:
                    sums[file] = _copy(tar, member, partial / file)
                    wanted.remove(file)
            while bounded.read(BLOCK):
                pass  # the archive's own sum stands at its end
        (partial / SUMS).write_text("".join(f"{sums[file]}  {file}\n" for file in sorted(sums)), encoding="utf-8")
        if not wanted:
            shutil.rmtree(folder, ignore_errors=True)  # incomplete, or nobody would have asked
            os.replace(partial, folder)
    except (tarfile.TarError, OSError, EOFError, zlib.error, ValueError) as error:
        raise DataError(f"{archive} cannot be unpacked: {error}", where="data.root", fix="free some room, or remove it") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    if wanted:
        fix = "remove it, so that it is fetched anew"
        raise DataError(f"{archive} lacks {', '.join(sorted(wanted))}", where="data.root", fix=fix)


def _copy(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    """Write a member to ``path``; its sha256."""
    digest = hashlib.sha256()
    source = tar.extractfile(member)
    assert source is not None
    with source, open(path, "wb") as target:
        while block := source.read(BLOCK):
            digest.update(block)
            target.write(block)
    return digest.hexdigest()


def content(path: Path) -> bytes:
    """A file's bytes, if they are those that were unpacked (where that is on record, see above).

    Raises:
        DataError: they are not; both sums are named. Or the file cannot be read, or is larger than any published one.
    """
    again = f"remove {path.parent}, so that it is made anew"
    try:
        if path.stat().st_size > MEMBER_LIMIT:
            raise DataError(f"{path} has {path.stat().st_size:,} bytes, more than any published file", where="data.root", fix=again)
        found = path.read_bytes()
        noted = _noted(path.parent / SUMS).get(path.name)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", where="data.root", fix=again) from error
    if noted is not None:
        digest = hashlib.sha256(found).hexdigest()
        if digest != noted:
            raise DataError(
                f"{path} has changed since it was unpacked: its sha256 is {digest} where {noted} belongs", where="data.root", fix=again
            )
    return found


def _noted(sums: Path) -> dict[str, str]:
    """The sums on record, by file."""
    if not sums.is_file():
        return {}
    pairs = [line.split(maxsplit=1) for line in sums.read_text(encoding="utf-8", errors="replace").splitlines()]
    return {pair[1].removeprefix("*"): pair[0] for pair in pairs if len(pair) == 2}
