"""Tensors into files, each byte touched once: what goes to the disk goes into the SHA-256 on its way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from safetensors.torch import save

_NAMES = {
    torch.bool: "BOOL",
    torch.uint8: "U8",
    torch.int8: "I8",
    torch.int16: "I16",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int32: "I32",
    torch.float32: "F32",
    torch.float64: "F64",
    torch.int64: "I64",
}
"""Safetensors' names of what models are made of, in its order: of the last the tensors come first."""


class Hashed:
    """A file that is written and hashed at once. It tells of a full disk when it is left: `torch.save` would make another error of that."""

    def __init__(self, path: Path) -> None:
        self._path, self._file, self._sha256, self._size = path, path.open("wb", buffering=0), hashlib.sha256(), 0
        self._fault: OSError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """Raises the OSError that kept it from being written."""
        self._file.close()
        if self._fault is not None:
            raise self._fault

    def write(self, data: bytes | memoryview) -> int:
        """All of it."""
        left = memoryview(data).cast("B")
        size = len(left)
        self._sha256.update(left)
        self._size += size
        try:
            while left and self._fault is None:
                left = left[self._file.write(left) :]
        except OSError as fault:
            self._fault = fault
        return size

    def flush(self) -> None:
        """Nothing waits here."""

    def described(self) -> dict[str, Any]:
        """{path, size, sha256}, the path being the file's name."""
        return {"path": self._path.name, "size": self._size, "sha256": self._sha256.hexdigest()}


def save_weights(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors as safetensors. Raises OSError where the disk is full."""
    with path.open("wb") as file:
        write_safetensors(tensors, file.write)


def write_json(path: Path, value: object) -> None:
    """As people read it."""
    path.write_text(json.dumps(value, indent=2) + "\n")


def write_safetensors(tensors: Mapping[str, torch.Tensor], write: Callable[[memoryview | bytes], Any]) -> None:
    """The bytes of `safetensors.torch.save`, written from where the tensors lie: that function copies them twice before it returns."""
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    if any(tensor.dtype not in _NAMES for tensor in plain.values()):
        write(save(plain))
        return
    # github.com/huggingface/safetensors, README, "Format": the length of a JSON head, the head padded to 8 bytes, the tensors without gaps
    rank = {dtype: -place for place, dtype in enumerate(_NAMES)}
    ordered = sorted(plain.items(), key=lambda item: (rank[item[1].dtype], item[0]))
    head, end = {}, 0
    for name, tensor in ordered:
        begin, end = end, end + tensor.nbytes
        head[name] = {"dtype": _NAMES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(head, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    write(len(text).to_bytes(8, "little") + text)
    for _, tensor in ordered:
        write(memoryview(tensor.reshape(-1).view(torch.uint8).numpy().data))
