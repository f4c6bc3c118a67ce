"""Finds a data set's files: the operator's folder, then the store, then torchvision's own download, which the store keeps.

The download runs in a child process (`python -m worker.datasets NAME DIR`): this module's own process never imports torch.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from service.jobs.ports import ArtifactStore

_IDX = tuple(f"raw/{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3-ubyte", "labels-idx1-ubyte"))
_CIFAR = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta")
FILES: dict[str, tuple[str, tuple[str, ...]]] = {
    "MNIST": ("MNIST", _IDX),
    "FashionMNIST": ("FashionMNIST", _IDX),
    "CIFAR10": ("cifar-10-batches-py", _CIFAR),
}
"""Folder and files in torchvision's layout; any other data set of the catalog is made on the spot."""

DOWNLOAD_SECONDS = 1800


class DatasetMissing(Exception):
    """No place has the data; the text names where was looked, and the cure."""


class DatasetShelf:
    """Where this worker's data sets lie."""

    def __init__(self, *, operators: Path | None, fetched: Path, artifacts: ArtifactStore) -> None:
        self._operators, self._fetched, self._artifacts = operators, fetched, artifacts

    def find(self, name: str) -> Path:
        """The folder in torchvision's layout that holds the data set. Raises DatasetMissing, StorageUnavailable."""
        if name not in FILES:
            return self._fetched
        for place in (self._operators, self._fetched):
            if place is not None and _whole(place, name):
                return place
        if self._from_store(name) or self._downloaded(name):
            return self._fetched
        looked = ", ".join(
            str(place) for place in (self._operators, "the store's datasets/", "torchvision's download") if place is not None
        )
        raise DatasetMissing(
            f"{name} is nowhere to be had (looked at: {looked}). Set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout that holds it, for example "
            f"{FILES[name][0]}/{FILES[name][1][0]}.gz."
        )

    def _from_store(self, name: str) -> bool:
        prefix = f"datasets/{FILES[name][0]}/"
        for stored in self._artifacts.list(prefix):
            target = self._fetched / FILES[name][0] / stored.key.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            with part.open("wb") as out:
                out.writelines(self._artifacts.open(stored.key))
            part.replace(target)
        return _whole(self._fetched, name)

    def _downloaded(self, name: str) -> bool:
        self._fetched.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "worker.datasets", name, str(self._fetched)]
        try:
            done = subprocess.run(command, check=False, capture_output=True, timeout=DOWNLOAD_SECONDS)
        except subprocess.TimeoutExpired:
            return False
        if done.returncode != 0 or not _whole(self._fetched, name):
            return False
        folder = self._fetched / FILES[name][0]
        for path in _present(self._fetched, name):
            self._artifacts.put_file(f"datasets/{FILES[name][0]}/{path.relative_to(folder).as_posix()}", path)
        return True


def _present(place: Path, name: str) -> Sequence[Path]:
    folder, files = FILES[name]
    found = (next((path for path in (place / folder / file, place / folder / f"{file}.gz") if path.exists()), None) for file in files)
    return [path for path in found if path is not None]


def _whole(place: Path, name: str) -> bool:
    return len(_present(place, name)) == len(FILES[name][1])


def main(name: str, folder: str) -> None:
    """Let torchvision download a data set. Runs in the child."""
    from torchvision import datasets

    import worker.training.vision  # noqa: F401  # before torchvision

    getattr(datasets, name)(folder, download=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
