"""Memory that tensors are copied into, to be read by another process. It knows neither models nor files."""

from __future__ import annotations

import mmap
import os
import tempfile
from dataclasses import dataclass
from typing import Any

import torch

ALIGNED = 64
"""Bytes: a cache line, and more than any dtype needs."""


@dataclass(frozen=True)
class Place:
    """Where in a buffer a tensor lies, and its form."""

    offset: int
    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


class Buffer:
    """A file without a name, mapped by this process and by those that are forked from it later. It grows to what is laid in, and never shrinks.

    Used again it costs a copy alone; fresh memory for each would cost the kernel's zeroing and a fault per page besides, five times as much.
    """

    def __init__(self) -> None:
        self._descriptor = _nameless_file()
        self._bytes: mmap.mmap | bytes = b""

    def descriptor(self) -> int:
        """The file's."""
        return self._descriptor

    def close(self) -> None:
        """Give the memory back, once nobody maps it any more."""
        os.close(self._descriptor)

    def hold(self, value: Any) -> Any:
        """The value with a Place for each tensor in it (in dicts, lists and tuples); what was held before is overwritten. Raises MemoryError."""
        tensors: list[torch.Tensor] = []
        placed, size = _placed(value, tensors, 0)
        self._grow(size)
        for place, tensor in zip(_places(placed), tensors, strict=True):
            self._view(place).copy_(tensor)
        return placed

    def read(self, placed: Any) -> Any:
        """What `hold` was given, its tensors seen where they lie: until the next `hold`."""
        self._grow(os.fstat(self._descriptor).st_size)
        return self._read(placed)

    def _read(self, placed: Any) -> Any:
        match placed:
            case Place():
                return self._view(placed)
            case dict():
                return {name: self._read(each) for name, each in placed.items()}
            case list():
                return [self._read(each) for each in placed]
        return placed

    def _view(self, place: Place) -> torch.Tensor:
        count = place.shape.numel()
        if count == 0:
            return torch.empty(place.shape, dtype=place.dtype)
        # a storage of its own for each: `torch.save` writes the whole storage of what it is given
        return torch.frombuffer(self._bytes, dtype=place.dtype, count=count, offset=place.offset).as_strided(place.shape, place.stride)

    def _grow(self, size: int) -> None:
        if size <= len(self._bytes):
            return
        try:
            if size > os.fstat(self._descriptor).st_size:
                os.ftruncate(self._descriptor, size)
            self._bytes = mmap.mmap(self._descriptor, size)
        except OSError as error:
            raise MemoryError(f"{size} bytes for a snapshot cannot be had: {error}") from error


def _placed(value: Any, tensors: list[torch.Tensor], size: int) -> tuple[Any, int]:
    """The value with places for its tensors, which are appended to the list, from byte `size` on; and where they end."""
    match value:
        case torch.Tensor():
            tensor = value.detach()
            tensors.append(tensor)
            # as `clone` would lay it out: dense, in the order of its own strides
            stride = torch.empty_like(tensor, device="meta").stride()
            place = Place(offset=size, shape=tensor.shape, stride=stride, dtype=tensor.dtype)
            return place, -(-(size + _span(place)) // ALIGNED) * ALIGNED
        case dict():
            named = {}
            for name, each in value.items():
                named[name], size = _placed(each, tensors, size)
            return named, size
        case list() | tuple():
            listed = []
            for each in value:
                item, size = _placed(each, tensors, size)
                listed.append(item)
            return listed, size
    return value, size


def _places(placed: Any) -> list[Place]:
    match placed:
        case Place():
            return [placed]
        case dict():
            return [place for each in placed.values() for place in _places(each)]
        case list():
            return [place for each in placed for place in _places(each)]
    return []


def _span(place: Place) -> int:
    return place.shape.numel() * place.dtype.itemsize


def _nameless_file() -> int:
    """In memory where the system has such files; /dev/shm would not do, containers keep it small."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("snapshot")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
