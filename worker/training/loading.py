"""A job's splits: out of the cache of decoded data where they are in it, else read from their files and put there."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch

from service.spec.dataset import Dataset
from service.spec.job import JobSpec
from worker.training import tables
from worker.training.cache import DecodedCache
from worker.training.cached import source_key
from worker.training.readers import is_packed, read
from worker.training.splits import Packed, Published, Split, Splits, split_indices

UNPACKED = ("Tensors", "Table")
"""Unpacked for each job anew: there is nothing to know them by."""


def load_splits(spec: JobSpec, *, datasets_dir: Path, cache: DecodedCache | None = None) -> Splits:
    """The job's data, split as `random_split` with the job's seed would. Raises DataMissing."""
    published, digest = _published(spec.dataset, datasets_dir, cache)
    train, test = published.train, published.test
    if spec.dataset.limit is not None:
        train = train.take(torch.arange(min(spec.dataset.limit, len(train))))
    validation = train.take(torch.arange(0)) if published.validation is None else published.validation
    if int(len(train) * spec.dataset.validation_split):
        kept, held_out = split_indices(len(train), share=spec.dataset.validation_split, seed=spec.seed)
        train, validation = train.take(kept), train.take(held_out)
    splits = Splits(train=train, validation=validation, test=test, digest=f"sha256:{digest}")
    content = spec.dataset.content
    return tables.prepared(splits, spec.dataset, content) if content is not None and content.layout == "table" else splits


def _published(dataset: Dataset, datasets_dir: Path, cache: DecodedCache | None) -> tuple[Published, str]:
    """The data set's splits, and its SHA-256: of what is in them, or, of an upload, of its bytes."""
    if cache is None or not is_packed(dataset) or dataset.type in UNPACKED:
        published = read(dataset, datasets_dir)
        return published, _version(dataset) or digest_of(*published.parts().values())
    key = source_key(dataset, datasets_dir)
    found = cache.find(key)
    if found is not None:
        splits, digest = found
        return Published(**splits), _version(dataset) or digest
    # what others find there is a split's own samples; held in memory they are these alone, too
    splits = {name: split.alone() for name, split in read(dataset, datasets_dir).parts().items() if isinstance(split, Packed)}
    digest = digest_of(*splits.values())
    cache.put(key, splits, digest)
    return Published(**splits), _version(dataset) or digest


def _version(dataset: Dataset) -> str | None:
    return str(dataset.arguments()["version"]) if dataset.type == "Upload" else None


def digest_of(*splits: Split) -> str:
    """The SHA-256 of the splits' content, hex."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(split.fingerprint())
    return digest.hexdigest()
