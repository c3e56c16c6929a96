"""The checkpoint file: one self-sufficient safetensors file that proves itself.

Layout (the format's own, https://github.com/huggingface/safetensors): eight bytes with the header's length, the header (JSON:
each tensor's dtype, shape and place; our facts as one JSON text under ``__metadata__``), then the tensors' bytes. The digest, also
under ``__metadata__``, is the sha256 of the whole file with the digest's own 64 characters set to zero, so that a flipped bit
anywhere, in a name or a shape too, is found. No pickle is written or read.
"""

import hashlib
import json
import struct
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from cnntrain.engine.storage import write_whole
from cnntrain.errors import CheckpointError

FORMAT = 1
_MARK = b'"sha256":"'
_BLANK = "0" * 64
_CHUNK = 1 << 20
_MAX_HEADER = 100 << 20
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16",
    torch.int64: "I64", torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip


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

    def stream(file: BinaryIO) -> None:
        digest = hashlib.sha256()
        parts = chain[bytes | memoryview]((struct.pack("<Q", len(text)), text), map(_bytes, stored.values()))
        for part in parts:  # one tensor at a time, so that no second model lies in memory
            file.write(part)
            digest.update(part)
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
    """Read a checkpoint, once its digest is verified.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it is not one of ours.
    """
    path = Path(path)
    fix = "name another checkpoint, such as previous.safetensors beside it"
    try:
        if not path.is_file():
            found = "a folder; name the file in it" if path.is_dir() else "not there"
            raise CheckpointError(f"Checkpoint {path} is {found}", where="checkpoint", fix="checkpoint=outputs/…/best.safetensors")
        header = _verify(path)
    except OSError as error:
        raise CheckpointError(f"Checkpoint {path} cannot be read: {error.strerror}", where="checkpoint", fix=fix) from error
    meta = json.loads(header["__metadata__"]["cnntrain"])
    if meta["format"] != FORMAT:
        raise CheckpointError(
            f"Checkpoint {path} has format {meta['format']}, this cnntrain reads {FORMAT}",
            where="checkpoint",
            fix="use the cnntrain that wrote it",
        )
    from safetensors.torch import load_file

    tensors = load_file(path)
    for name, source in meta["aliases"].items():
        tensors[name] = tensors[source]
    return Checkpoint(path, tensors, meta)


def _verify(path: Path) -> dict[str, Any]:
    """The header of a file whose digest holds."""

    def damaged(what: str) -> CheckpointError:
        size = path.stat().st_size
        return CheckpointError(
            f"Checkpoint {path} ({size:,} bytes) is {what}",
            where="checkpoint",
            fix="name another checkpoint, such as previous.safetensors beside it",
        )

    with open(path, "rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 < length <= min(_MAX_HEADER, path.stat().st_size):
            raise damaged("not a cnntrain checkpoint, or damaged")
        text = file.read(length)
        at = text.find(_MARK) + len(_MARK)
        if at < len(_MARK) or len(text) < at + 64:
            raise damaged("not a cnntrain checkpoint, or damaged")
        digest = hashlib.sha256(start + text[:at] + _BLANK.encode() + text[at + 64 :])
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    found, noted = digest.hexdigest(), text[at : at + 64].decode(errors="replace")
    if found != noted:
        raise damaged(f"damaged: its sha256 is {found[:16]}…, it should be {noted[:16]}…")
    try:
        header = json.loads(text)
        json.loads(header["__metadata__"]["cnntrain"])["format"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged("not a cnntrain checkpoint") from error
    return header


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
