"""Decoded data sets on this machine's disk, by content. Jobs map the same files, so that the page cache holds them once for all."""

from __future__ import annotations

import fcntl
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch

from worker.training.cached import CONTENT, SOURCES
from worker.training.splits import Packed

_KINDS = {str(kind).removeprefix("torch."): kind for kind in (torch.uint8, torch.int64, torch.float32, torch.float64)}


@dataclass(frozen=True)
class DecodedCache:
    """`content/<sha256>/` holds a data set's packed splits, `sources/<key>` names the content that a source decodes to.

    Above `limit_bytes` the content that went unused for longest goes. Where the folder cannot be written to, only what is there is used.
    """

    folder: Path
    limit_bytes: int

    def find(self, key: str) -> tuple[dict[str, Packed], str] | None:
        """The splits that were put under this key, by name, mapped into memory, and their SHA-256; None where they are not here."""
        try:
            digest = (self.folder / SOURCES / key).read_text()
            content = self.folder / CONTENT / digest
            shapes = json.loads((content / "shapes.json").read_text())
            splits = {
                part: Packed(*(_mapped(content / f"{part}.{what}", *shapes[part][what]) for what in ("images", "labels")))
                for part in shapes
            }
        except (OSError, ValueError, KeyError, TypeError, RuntimeError):
            return None  # not here, or only half of it: it is decoded again
        with suppress(OSError):  # a cache that is only readable keeps no track of its use
            os.utime(content)
        return splits, digest

    def put(self, key: str, splits: Mapping[str, Packed], digest: str) -> None:
        """Keep splits by name, each with its own samples alone (no `rows`). Nothing happens where they alone are over the limit, or the disk is full or not to be written to."""
        size = sum(split.images.nbytes + split.labels.nbytes for split in splits.values())
        if size > self.limit_bytes:
            return
        try:
            with self._locked():
                self._make_room(size)
                self._write(digest, splits)
                _replace(self.folder / SOURCES / key, digest)
        except OSError:
            return  # a cache is no reason for a job to fail

    def _write(self, digest: str, splits: Mapping[str, Packed]) -> None:
        content = self.folder / CONTENT / digest
        if content.exists():
            return
        part = Path(tempfile.mkdtemp(prefix="part-", dir=self.folder))
        part.chmod(0o755)  # contained code, which runs as nobody, reads it too
        try:
            for name, split in splits.items():
                for kind, tensor in (("images", split.images), ("labels", split.labels)):
                    with (part / f"{name}.{kind}").open("wb") as out:
                        tensor.contiguous().numpy().tofile(out)
                        os.fsync(out.fileno())
            shapes = {name: {"images": _described(split.images), "labels": _described(split.labels)} for name, split in splits.items()}
            (part / "shapes.json").write_text(json.dumps(shapes))
            part.rename(content)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def _make_room(self, size: int) -> None:
        """Remove what went unused for longest until `size` more bytes fit."""
        kept = sorted((self.folder / CONTENT).iterdir(), key=lambda content: content.stat().st_mtime, reverse=True)
        room = self.limit_bytes - size
        for content in kept:
            room -= sum(path.stat().st_size for path in content.iterdir())
            if room < 0:
                shutil.rmtree(content)  # who has it mapped keeps it until the end of the job
        for source in (self.folder / SOURCES).iterdir():
            if not (self.folder / CONTENT / source.read_text()).exists():
                source.unlink()

    @contextmanager
    def _locked(self) -> Iterator[None]:
        for name in (CONTENT, SOURCES):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _described(tensor: torch.Tensor) -> tuple[str, list[int]]:
    return str(tensor.dtype).removeprefix("torch."), list(tensor.shape)


def _mapped(path: Path, kind: str, shape: list[int]) -> torch.Tensor:
    """A tensor whose bytes stay in their file: private pages, so that nothing written to it reaches them.

    Raises RuntimeError where the file is shorter than it should be.
    """
    return torch.from_file(str(path), shared=False, size=math.prod(shape), dtype=_KINDS[kind]).view(shape)


def _replace(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)
