"""Published files, fetched whole or not at all.

A list of sources is tried in turn; a cut transfer goes on where it stopped (HTTP Range, RFC 9110 section 14), also from another source;
size and md5 are checked before the file gets its name; two processes that want the same file do not disturb each other.
"""

import hashlib
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cnntrain.data.progress import progress
from cnntrain.data.storage import locked, make_folder
from cnntrain.errors import DataError

BLOCK = 1 << 16
ATTEMPTS = 5  # transfers from one source, each of which must have brought something


@dataclass(frozen=True)
class Remote:
    """A published file: its name, its size in bytes, its md5 and the places that have it."""

    file: str
    size: int
    md5: str
    urls: tuple[str, ...]


class _Refused(Exception):
    """A source that has not got the file: the next one is tried."""


def obtain(remotes: Sequence[Remote], folder: Path, *, timeout: float = 30.0) -> Path:
    """Give the path of the first of ``remotes`` (forms of the same data) that is in ``folder`` or can be fetched into it.

    Raises:
        DataError: no source has it; the message says what to fetch by hand and where to put it.
    """
    make_folder(folder, key="data.root")
    with locked(folder / f".{remotes[0].file}.lock", key="data.root"):
        present = [remote for remote in remotes if (folder / remote.file).is_file()]
        failures = []
        for remote in present:
            found = md5_of(folder / remote.file)
            if found == remote.md5:
                return folder / remote.file
            failures.append(f"the {remote.file} that lies there has md5 {found} where {remote.md5} belongs")
        for remote in remotes:
            for url in remote.urls:
                try:
                    return _fetch(url, remote, folder, timeout)
                except (OSError, http.client.HTTPException, _Refused) as problem:
                    failures.append(f"{url}: {_reason(problem)}")
    first = remotes[0]
    raise DataError(
        f"{first.file} could not be had: {'; '.join(failures)}",
        where=f"data.root {folder}",
        fix=f"download {' or '.join(first.urls)} by hand (md5 {first.md5}), put it into {folder} as {first.file} and start again",
    )


def verify(path: Path, remote: Remote) -> None:
    """Compare a file that is to be used with what was published.

    Raises:
        DataError: it is another one; both sums are named. Or it cannot be read.
    """
    again = f"remove {path}, so that it is fetched anew"
    try:
        found = md5_of(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", where="data.root", fix=again) from error
    if found != remote.md5:
        raise DataError(f"{path} has md5 {found} where {remote.md5} belongs", where="data.root", fix=again)


def _fetch(url: str, remote: Remote, folder: Path, timeout: float) -> Path:
    """Bring ``folder/file.part`` to full length from one source, check it, give it its name."""
    part = folder / f"{remote.file}.part"
    if _size(part) > remote.size:  # of another version of the file
        part.unlink()
    whole_from_here = _size(part) == 0
    for _ in range(ATTEMPTS):
        before = _size(part)
        problem: Exception = _Refused(f"the connection was cut after {before} of {remote.size} bytes")
        if before < remote.size:
            try:
                _transfer(url, part, remote, timeout)
            except urllib.error.HTTPError as error:
                if error.code != 416 or not before:  # 416: the source cannot go on from here
                    raise
                part.unlink()
                whole_from_here = True
                continue
            except (OSError, http.client.HTTPException) as error:
                problem = error
        after = _size(part)
        if after == remote.size:
            found = md5_of(part)
            if found == remote.md5:
                os.replace(part, folder / remote.file)
                return folder / remote.file
            part.unlink()
            problem = _Refused(f"md5 {found} where {remote.md5} belongs")
            if whole_from_here:
                raise problem
            whole_from_here = True  # what an earlier source or run had left was bad: once more from the beginning
        elif after <= before:
            raise problem
    raise problem


def _transfer(url: str, part: Path, remote: Remote, timeout: float) -> None:
    """Append what is missing of the file to ``part``; a source that cannot go on in the middle starts it anew."""
    start = _size(part)
    headers = {"User-Agent": "cnntrain", **({"Range": f"bytes={start}-"} if start else {})}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=timeout) as answer:
        if answer.status != 206 or not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            start = 0
        # Nothing is written before this: a login page or an error sent with status 200 must not spoil what is there.
        if "html" in answer.headers.get("Content-Type", ""):
            raise _Refused("a web page instead of the file")
        length = answer.headers.get("Content-Length")
        if length is not None and start + int(length) != remote.size:
            raise _Refused(f"{start + int(length)} bytes where {remote.size} belong")
        with open(part, "ab" if start else "wb") as out, progress(f"downloading {remote.file}", remote.size, in_bytes=True) as advance:
            advance(start)
            while block := answer.read(BLOCK):
                if out.tell() + len(block) > remote.size:
                    raise _Refused(f"more than the {remote.size} bytes that belong")
                _write(out, block, part.parent)
                advance(len(block))


def _write(out, block: bytes, folder: Path) -> None:
    try:
        out.write(block)
        out.flush()  # so that what was received survives a kill
    except OSError as error:  # no source can help here
        what = f"cannot write to {folder}: {error.strerror}"
        raise DataError(what, where="data.root", fix="data.root=DIR on a disk with room") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def md5_of(path: Path) -> str:
    """A file's md5."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def _reason(problem: Exception) -> str:
    if isinstance(problem, urllib.error.HTTPError):
        problem.close()
        return f"HTTP {problem.code} {problem.reason}"
    if isinstance(problem, urllib.error.URLError):
        return str(problem.reason)
    return str(problem) or type(problem).__name__
