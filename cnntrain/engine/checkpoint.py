"""The checkpoint file: one self-sufficient safetensors file that proves itself.

Layout (the format's own, https://github.com/huggingface/safetensors): eight bytes with the header's length, the header (JSON:
each tensor's dtype, shape and place; our facts as one JSON text under ``__metadata__``), then the tensors' bytes. The digest, also
under ``__metadata__``, is the sha256 of the whole file with the digest's own 64 characters set to zero, so that a flipped bit
anywhere, in a name or a shape too, is found. No pickle is written or read. Anybody's safetensors reads the file; our own reader refuses,
beside damage, what a good digest may still hide: places that overlap, names that stand twice, facts of another kind (``facts.py``).
"""

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from cnntrain.config.values import show
from cnntrain.engine.facts import Facts, check, parse, shape_of
from cnntrain.engine.storage import write_whole
from cnntrain.errors import CheckpointError

FORMAT = 1
_MARK = b'"sha256":"'
_BLANK = "0" * 64
_CHUNK = 1 << 20
_AHEAD = 64 << 20  # bytes that are written and not yet summed: copies of tensors, so that no second large model lies in memory
MAX_HEADER = 4 << 20  # bytes, of 60 classes or of 100,000; JSON takes up to thirty times as much memory
ANOTHER = "name another checkpoint, such as previous.safetensors beside it"
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_KINDS = {name: dtype for dtype, name in _DTYPES.items()}


class Checkpoint(NamedTuple):
    """What a file holds: tensors by name, and ``meta``, the facts of the run (see ``engine/state.py`` for both)."""

    path: Path
    tensors: dict[str, Tensor]
    meta: dict[str, Any]


def write(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any], *, keep: Path | None = None, also: Path | None = None) -> None:
    """Write a checkpoint whole, under the name ``also``, too; the file that was there stays as ``keep``.

    Tensors that share their memory are stored once. Strides are not stored: :func:`read` gives contiguous tensors.

    Raises:
        OSError: the storage failed; the old file is untouched.
        CheckpointError: there are so many names in it that it could not be read again.
    """
    stored, aliases = _without_aliases(tensors)
    header: dict[str, Any] = {"__metadata__": {"sha256": _BLANK, "cnntrain": json.dumps({"format": FORMAT, **meta, "aliases": aliases})}}
    place = 0
    for name, tensor in stored.items():
        end = place + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    if len(text) > MAX_HEADER:
        raise CheckpointError(
            f"The names of {len(stored):,} tensors and the facts of the run have {len(text):,} bytes, a checkpoint takes {MAX_HEADER:,}",
            where=str(path),
            fix="train on fewer classes, or give them shorter names",
        )

    def stream(file: BinaryIO) -> None:
        digest, waiting = hashlib.sha256(), 0
        parts = chain[bytes | memoryview]((struct.pack("<Q", len(text)), text), map(_bytes, stored.values()))
        with ThreadPoolExecutor(1) as beside:  # the sum takes as long as the disk: one does not wait for the other
            for part in parts:
                summed, waiting = beside.submit(digest.update, part), waiting + len(part)
                file.write(part)
                if waiting > _AHEAD:
                    summed.result()
                    waiting = 0
            file.flush()
            os.fsync(file.fileno())
        file.seek(8 + text.index(_MARK) + len(_MARK))
        file.write(digest.hexdigest().encode())

    write_whole(path, stream, keep=keep, also=also)


def _without_aliases(tensors: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Tied tensors once each, and a map from every other name to the one that is stored."""
    seen: dict[tuple[object, ...], str] = {}
    stored, aliases = {}, {}
    for name, tensor in tensors.items():
        place = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and place in seen:
            aliases[name] = seen[place]
        else:
            seen[place] = name
            stored[name] = tensor
    return stored, aliases


def _bytes(tensor: Tensor) -> memoryview:
    """A tensor's bytes in row-major order, without a copy if it has them so already."""
    flat = tensor.detach().to("cpu").contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if flat.numel() else memoryview(b"")


def read(path: str | Path) -> Checkpoint:
    """Read a checkpoint, in one pass: what is summed is what is used, whatever happens to the file meanwhile.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it is not one of ours.
    """
    path = Path(path)
    try:
        if not path.is_file():
            found = "a folder; name the file in it" if path.is_dir() else "no regular file" if path.exists() else "not there"
            raise CheckpointError(f"Checkpoint {path} is {found}", where="checkpoint", fix="checkpoint=outputs/…/best.safetensors")
        with open(path, "rb") as file:
            return _read(path, file)
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path} cannot be read: {error.strerror}", where="checkpoint", fix=ANOTHER) from error


def _read(path: Path, file: BinaryIO) -> Checkpoint:
    """The checkpoint in an open file, if its digest holds and all in it is of its kind."""
    size = os.fstat(file.fileno()).st_size

    def damaged(what: str) -> CheckpointError:
        return CheckpointError(f"Checkpoint {path} ({size:,} bytes) is {what}", where="checkpoint", fix=ANOTHER)

    start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
    text = file.read(length) if 2 < length <= min(MAX_HEADER, size) else b""
    at = text.find(_MARK) + len(_MARK)
    if at < len(_MARK) or len(text) < max(length, at + 64):
        raise damaged("not a cnntrain checkpoint, or damaged")
    digest = hashlib.sha256(start + text[:at] + _BLANK.encode() + text[at + 64 :])
    try:
        header, wrong = parse(text, str(path)), ""
        tensors = _tensors(header, size - 8 - length)
    except (ValueError, KeyError, TypeError, CheckpointError) as error:  # told below, unless the digest tells that the file is damaged
        header, wrong, tensors = Facts(), getattr(error, "what", str(error)), {}
    for part in _parts(tensors):
        file.readinto(part)  # type: ignore[attr-defined] # a file that is shorter by now leaves the rest as it is: its digest fails
        digest.update(part)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    found, noted = digest.hexdigest(), text[at : at + 64].decode(errors="replace")
    if found != noted:
        raise damaged(f"damaged: its sha256 is {found[:16]}…, it should be {noted[:16]}…")
    try:
        if wrong:
            raise ValueError(wrong)
        meta = parse(header["__metadata__"]["cnntrain"], str(path))
        if meta.get("format") == FORMAT:
            check(meta)
            _add_aliases(tensors, meta["aliases"])
    except (ValueError, TypeError, CheckpointError) as error:
        raise damaged(f"not a cnntrain checkpoint: {getattr(error, 'what', error)}") from error
    if meta["format"] != FORMAT:
        raise CheckpointError(
            f"Checkpoint {path} has format {show(meta['format'])}, this cnntrain reads {FORMAT}",
            where="checkpoint",
            fix="use the cnntrain that wrote it",
        )
    return Checkpoint(path, tensors, meta)


def _tensors(header: Facts, size: int) -> dict[str, Tensor]:
    """The tensors of a header whose ``size`` bytes stand one after the other, as it says; still without their values.

    Raises:
        ValueError, KeyError, TypeError: they do not.
    """
    tensors: dict[str, Tensor] = {}
    place = 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        dtype = _KINDS[entry["dtype"]]
        first, end = entry["data_offsets"]
        if type(end) is not int or first != place or not place <= end <= size:
            raise ValueError(f"{name:.60} lies from {show(first)} to {show(end)}, not from {place} within {size} bytes")
        shape = shape_of(entry, (end - place) // dtype.itemsize)
        if (end - place) % dtype.itemsize:
            raise ValueError(f"{name:.60} has {end - place} bytes, no whole number of {dtype}")
        tensors[name], place = torch.empty(shape, dtype=dtype), end
    if place != size:
        raise ValueError(f"the tensors have {place} bytes, the file has {size} for them")
    return tensors


def _parts(tensors: dict[str, Tensor]) -> Iterator[memoryview]:
    """The memory of all tensors, in parts that stay in a core's cache between being read and being summed."""
    for tensor in tensors.values():
        view = _bytes(tensor)
        yield from (view[first : first + _CHUNK] for first in range(0, len(view), _CHUNK))


def _add_aliases(tensors: dict[str, Tensor], aliases: dict[str, str]) -> None:
    """Give tied tensors their other names. Raises ValueError where a name is taken, or stands for nothing."""
    stored = set(tensors)
    for name, source in aliases.items():
        if name in stored or source not in stored:
            raise ValueError(f"{name:.60} is to be another name of {source:.60}")
        tensors[name] = tensors[source]


def read_newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint of a run, and a line for each damaged one that was passed over.

    Raises:
        CheckpointError: there are checkpoints, and all are damaged.
    """
    remarks: list[str] = []
    names = [folder / name for name in ("last.safetensors", "previous.safetensors") if (folder / name).exists()]
    for path in names:
        try:
            return read(path), remarks
        except CheckpointError as error:
            remarks.append(f"{error.what}; passed over")
    if names:
        raise CheckpointError("; ".join(remarks), where=str(folder), fix="start a new run with the settings in its config.yaml")
    return None, remarks
