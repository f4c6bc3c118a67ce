"""Finds a data set's files: the operator's folder, then the store, then torchvision's own download, which the store keeps.

The download runs in a child process (`python -m worker.datasets ...`): this module's own process never imports torch.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from service.jobs.errors import ArtifactNotFound
from service.jobs.ports import ArtifactStore
from service.spec.catalog import load
from worker.training.sources import FILES, present, whole
from worker.unpacking import DatasetMissing, unpacked

DOWNLOAD_SECONDS = 1800


class DatasetShelf:
    """Where this worker's data sets lie."""

    def __init__(self, *, operators: Path | None, fetched: Path, artifacts: ArtifactStore) -> None:
        self._operators, self._fetched, self._artifacts = operators, fetched, artifacts

    def find(self, name: str) -> Path:
        """The folder in torchvision's layout that holds the data set. Raises DatasetMissing, StorageUnavailable."""
        if name not in FILES:
            return self._fetched
        for place in (self._operators, self._fetched):
            if place is not None and whole(place, name):
                return place
        if self._from_store(name) or self._downloaded(name):
            return self._fetched
        looked = ", ".join(
            str(place) for place in (self._operators, "the store's datasets/", "torchvision's download") if place is not None
        )
        raise DatasetMissing(
            f"{name} is nowhere to be had (looked at: {looked}). Set TRAINYARD_DATASETS_DIR to a folder in torchvision's layout that holds it, for example "
            f"{'/'.join(filter(None, (FILES[name][0], *FILES[name][1][:1])))}."
        )

    def find_local(self, name: str, *, unpacked_in: Path) -> Path:
        """The folder where the operator's data of that name begin; a file is unpacked first. Raises DatasetMissing."""
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise DatasetMissing(f"{name} leads out of the folder of data.")
        path = None if self._operators is None else self._operators / name
        if path is None or not path.exists():
            where = "TRAINYARD_DATASETS_DIR is not set here" if path is None else f"there is no {path} here"
            raise DatasetMissing(f"{name} is not on this worker's machine: {where}. Put it there as on the API's, or upload it.")
        if path.is_dir():
            return path
        unpacked_in.mkdir()
        return unpacked_in / unpacked(path, unpacked_in)

    def find_weights(self, model: str, weights: str) -> Path:
        """The file of torchvision's published weights. Raises DatasetMissing, StorageUnavailable."""
        name = str(load()["models"][model]["weights"][weights])
        places = [place / "weights" / name for place in (self._operators, self._fetched) if place is not None]
        found = next((path for path in places if path.exists()), None)
        if found is not None:
            return found
        target = self._fetched / "weights" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        key = f"datasets/weights/{name}"
        part = target.with_name(f"{name}.part")
        try:
            with part.open("wb") as out:
                out.writelines(self._artifacts.open(key))
        except ArtifactNotFound:
            part.unlink()
            if not self._ran("weights", model, weights, str(target.parent)) or not target.exists():
                looked = ", ".join([*map(str, places), f"the store's {key}", "torchvision's download"])
                raise DatasetMissing(
                    f"The weights {weights} of {model} are nowhere to be had (looked at: {looked}). Put {name} into one of these places."
                ) from None
            self._artifacts.put_file(key, target)
        else:
            part.replace(target)
        return target

    def _from_store(self, name: str) -> bool:
        prefix = f"datasets/{FILES[name][0]}/"
        for stored in self._artifacts.list(prefix):
            target = self._fetched / FILES[name][0] / stored.key.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            part = target.with_name(target.name + ".part")
            with part.open("wb") as out:
                out.writelines(self._artifacts.open(stored.key))
            part.replace(target)
        return whole(self._fetched, name)

    def _downloaded(self, name: str) -> bool:
        self._fetched.mkdir(parents=True, exist_ok=True)
        if not self._ran("dataset", name, str(self._fetched)) or not whole(self._fetched, name):
            return False
        folder = self._fetched / FILES[name][0]
        for path in present(self._fetched, name):
            self._artifacts.put_file(f"datasets/{FILES[name][0]}/{path.relative_to(folder).as_posix()}", path)
        return True

    def _ran(self, *arguments: str) -> bool:
        """Whether torchvision's own download, in a child process, ended well."""
        command = [sys.executable, "-m", "worker.datasets", *arguments]
        try:
            return subprocess.run(command, check=False, capture_output=True, timeout=DOWNLOAD_SECONDS).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def main(kind: str, name: str, *rest: str) -> None:
    """Let torchvision download a data set (`dataset NAME FOLDER`) or weights (`weights MODEL NAME FOLDER`). Runs in the child."""
    import torch

    import worker.training.vision  # noqa: F401  # before torchvision

    from torchvision import datasets, models  # isort: skip

    if kind == "weights":
        weights, folder = rest
        # the file's name carries the start of its SHA-256, which is checked
        torch.hub.load_state_dict_from_url(
            models.get_model_weights(name)[weights].url, model_dir=folder, check_hash=True, weights_only=True
        )
        return
    for split in load()["datasets"][name].get("splits", {}).values():
        getattr(datasets, name)(*rest, download=True, **split)


if __name__ == "__main__":
    main(*sys.argv[1:])
