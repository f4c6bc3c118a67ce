"""Where the cache of decoded data keeps what. No torch here: a worker shows contained code that of its own data set, and nobody else's."""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from pathlib import Path

from service.spec.dataset import LOCAL, Dataset
from worker.training.sources import FILES, present

SOURCES, CONTENT = "sources", "content"
_DECODERS = {name: version(name) for name in ("torchvision", "scikit-learn", "pillow")}
"""Looked up once, before trainers are forked."""


def source_key(dataset: Dataset, datasets_dir: Path) -> str:
    """A name for what reading the data set would read, without reading it: its files' names, sizes and times, and who decodes them."""
    files = []
    if dataset.type in FILES:
        stats = ((path, path.stat()) for path in present(datasets_dir, dataset.type))
        files = [[path.relative_to(datasets_dir).as_posix(), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    if dataset.type in LOCAL:
        stats = ((path, path.stat()) for path in sorted(datasets_dir.rglob("*")) if path.is_file())
        files = [[path.relative_to(datasets_dir).as_posix(), stat.st_size, stat.st_mtime_ns] for path, stat in stats]
    # content too: where an earlier job's model is asked, labels and words are numbered as that job has them
    parts = [dataset.type, dataset.model_dump(mode="json", include={"type", "content", *dataset.arguments()}), files, _DECODERS]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def entry_of(cache: Path, dataset: Dataset, datasets_dir: Path) -> list[Path]:
    """What the cache holds of this data set; nothing where it is not there yet."""
    source = cache / SOURCES / source_key(dataset, datasets_dir)
    try:
        return [source, cache / CONTENT / source.read_text()]
    except FileNotFoundError:
        return []
