"""Puts an attempt's files into storage: files first, a manifest last. What has no manifest does not count."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import mimetypes
import os
import shutil
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from service.jobs.errors import ArtifactNotFound, StorageUnavailable
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import artifacts_prefix, checkpoint_prefix
from service.jobs.ports import ArtifactStore, Claim
from service.killpoints import KillPoint, passing
from service.spec.export import Exported
from worker.leftovers import remove_files
from worker.training.facts import CheckpointWritten

_NOT_THERE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO, errno.EPERM, errno.EACCES, errno.ENAMETOOLONG}
"""How opening fails what is no plain file, by what custom code may have put there."""
_TYPES = {
    ".safetensors": "application/octet-stream",
    ".jsonl": "application/jsonl",
    ".py": "text/x-python",
    ".pt": "application/octet-stream",
    ".pt2": "application/octet-stream",
    ".onnx": "application/octet-stream",
    ".parquet": "application/vnd.apache.parquet",
    ".0": "application/octet-stream",
    ".md": "text/markdown",
}


class StorageGivenUp(Exception):
    """Storage stayed away for longer than the attempt is willing to wait."""


class NotThere(Exception):
    """What the trainer told of is no plain file in the attempt's folder."""


T = TypeVar("T")


class Storage:
    """Storage as an attempt sees it: each call is tried again until it is answered, the patience is used up, or `abandon` is set.

    `tell` hears in a sentence when storage falls silent, and when it is back.
    """

    def __init__(self, *, patience_seconds: float, abandon: threading.Event, tell: Callable[[str], None]) -> None:
        self._patience, self._abandon, self._tell = patience_seconds, abandon, tell

    def patiently(self, work: Callable[[], T]) -> T:
        """What the call answers. Raises StorageGivenUp."""
        began, pause, silent = time.monotonic(), 0.2, False
        while True:
            try:
                answer = work()
            except StorageUnavailable as error:
                if not silent:
                    silent = True
                    self._tell(f"storage does not answer; uploads wait, for {self._patience:g} s at most: {error}")
                if time.monotonic() - began > self._patience:
                    raise StorageGivenUp(f"Storage did not answer for {self._patience:g} s. {error}") from error
                if self._abandon.wait(pause):
                    raise StorageGivenUp("The attempt ended.") from error
                pause = min(30.0, pause * 2)
            else:
                if silent:
                    self._tell(f"storage is back after {time.monotonic() - began:.0f} s; what waited is uploaded")
                return answer


class Uploader:
    """One attempt's uploads, each as patient as its storage."""

    def __init__(self, artifacts: ArtifactStore, storage: Storage) -> None:
        self._artifacts, self._storage = artifacts, storage
        self._checkpoints: dict[str, list[str]] = {}
        """The keys under each checkpoint's prefix that this attempt has put, until it drops them."""

    def checkpoint(self, claim: Claim, written: CheckpointWritten, *, inside: Path) -> CheckpointPointer:
        """Upload a checkpoint and remove its folder; the pointer still has to be committed. Raises NotThere for what lies outside of `inside`."""
        prefix = checkpoint_prefix(claim.job.project, claim.job.id, claim.token, written.step)
        folder = Path(written.directory)
        for file in written.files:
            try:
                self._file(prefix + file["path"], folder / file["path"], inside=inside)
            except OSError as error:
                if error.errno not in _NOT_THERE:
                    raise
                raise NotThere(f"The trainer told of a checkpoint that is not in its folder ({file['path']}).") from error
        passing(KillPoint.CHECKPOINT_FILES_PUT)
        self._checkpoints[prefix] = [prefix + name for name in ("manifest.json", *(file["path"] for file in written.files))]
        manifest = {"epoch": written.epoch, "step": written.step, "token": claim.token, "at": _now(), "files": written.files}
        self._bytes(prefix + "manifest.json", json.dumps(manifest).encode(), "application/json")
        remove_files(folder, [file["path"] for file in written.files], inside=inside)
        size = sum(file["size"] for file in written.files)
        return CheckpointPointer(token=claim.token, epoch=written.epoch, step=written.step, prefix=prefix, size=size)

    def artifacts(self, claim: Claim, folder: Path) -> None:
        """Upload every file of the folder, then the manifest that makes them count."""
        prefix = artifacts_prefix(claim.job.project, claim.job.id, claim.token)
        exported = _exported(folder)
        files = []
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            self._file(prefix + name, path, inside=folder)
            file = {"path": name, "size": path.stat().st_size, "sha256": sha256(path), "content_type": content_type(name)}
            files.append(file | ({"export": exported[name].model_dump(mode="json")} if name in exported else {}))
        passing(KillPoint.ARTIFACTS_FILES_PUT)
        manifest = {"job_id": claim.job.id, "token": claim.token, "files": files}
        self._bytes(prefix + "manifest.json", json.dumps(manifest, indent=2).encode(), "application/json")

    def drop(self, pointers: Sequence[CheckpointPointer]) -> None:
        """Remove checkpoints that newer commits have replaced; what cannot be removed now is left to sweepers."""
        for pointer in pointers:
            try:
                keys = self._checkpoints.pop(pointer.prefix, None) or [stored.key for stored in self._artifacts.list(pointer.prefix)]
                self._artifacts.delete(keys)
            except StorageUnavailable:
                return

    def _file(self, key: str, path: Path, *, inside: Path) -> None:
        with held(path, inside=inside) as file:
            self._storage.patiently(lambda: self._artifacts.put_file(key, file, content_type=content_type(key)))

    def _bytes(self, key: str, data: bytes, kind: str) -> None:
        self._storage.patiently(lambda: self._artifacts.put_bytes(key, data, content_type=kind))


def _now() -> str:
    return datetime.now(tz=UTC).isoformat(timespec="milliseconds")


_EXPORTS = TypeAdapter(dict[str, Exported])
_MOST_EXPORTS = 64 * 1024
"""Bytes of what is read about exports."""


def _exported(folder: Path) -> dict[str, Exported]:
    """How far each exported file is from the model, by its name; empty where nothing was exported, or custom code put something else there."""
    try:
        with held(folder / "exports.json", inside=folder) as path, path.open("rb") as file:
            return _EXPORTS.validate_json(file.read(_MOST_EXPORTS))
    except (FileNotFoundError, PermissionError, ValidationError):
        return {}


def fetch_checkpoint(artifacts: ArtifactStore, job: Job, folder: Path) -> tuple[dict[str, Any] | None, list[str]]:
    """The newest checkpoint that is whole, downloaded and verified, as {directory, epoch, step}; and why each newer one was not taken."""
    faults: list[str] = []
    for pointer in job.checkpoints:
        shutil.rmtree(folder, ignore_errors=True)
        try:
            return _download(artifacts, pointer.prefix, folder), faults
        except (ArtifactNotFound, KeyError, ValueError) as error:
            faults.append(f"the checkpoint at step {pointer.step} cannot be used ({pointer.prefix}): {error}")
    return None, faults


def fetch_weights(artifacts: ArtifactStore, job: Job, which: str, target: Path) -> None:
    """Another job's weights into a file: `best` is its model, or its best so far, `last` its last checkpoint's. Raises ArtifactNotFound."""
    # where weights are averaged, the average is the model
    names = ("average", "model") if which == "last" else ("best", "average", "model")
    saved = [f"{job.checkpoint.prefix}{name}.safetensors" for name in names] if job.checkpoint else []
    home = artifacts_prefix(job.project, job.id, job.token) + "model.safetensors"
    places = [*saved, home] if which == "last" else [home, *saved]
    for at, key in enumerate(places, 1):
        try:
            with target.open("wb") as out:
                out.writelines(artifacts.open(key))
        except ArtifactNotFound:
            if at == len(places):
                raise
        else:
            return


def _download(artifacts: ArtifactStore, prefix: str, folder: Path) -> dict[str, Any]:
    manifest: Mapping[str, Any] = json.loads(b"".join(artifacts.open(prefix + "manifest.json")))
    folder.mkdir(parents=True)
    for file in manifest["files"]:
        path = folder / file["path"]
        with path.open("wb") as out:
            out.writelines(artifacts.open(prefix + file["path"]))
        if sha256(path) != file["sha256"]:
            raise ValueError(f"{file['path']} does not have the SHA-256 of its manifest")
    return {"directory": str(folder), "epoch": manifest["epoch"], "step": manifest["step"]}


@contextlib.contextmanager
def held(path: Path, *, inside: Path) -> Iterator[Path]:
    """A name for an opened plain file that nobody can exchange for another. Raises PermissionError where it lies outside, or is a link.

    A trainer with custom code may put a link to the worker's own files in its folder, at any moment.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        name = Path(f"/proc/self/fd/{descriptor}")
        if not stat.S_ISREG(os.fstat(descriptor).st_mode) or not name.resolve().is_relative_to(inside.resolve()):
            raise PermissionError(errno.EPERM, "no plain file of this attempt", str(path))
        yield name
    finally:
        os.close(descriptor)


def sha256(path: Path) -> str:
    """The SHA-256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def content_type(name: str) -> str:
    """What a file is, by its name."""
    return _TYPES.get(Path(name).suffix) or mimetypes.guess_type(name)[0] or "application/octet-stream"
