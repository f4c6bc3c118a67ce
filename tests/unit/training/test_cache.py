"""The cache of decoded data: the same samples as from the files, found again by name, bounded, and never a reason to fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from service.spec.job import JobSpec
from tests.checking import resolved
from worker.training.cache import DecodedCache
from worker.training.cached import entry_of, source_key
from worker.training.loading import load_splits
from worker.training.splits import Packed

MIB = 2**20


def digits(**dataset: object) -> JobSpec:
    """A spec on the digits."""
    layers = ["Flatten", {"type": "Linear", "out_features": 10}]
    body = {"model": {"type": "Sequential", "layers": layers}, "loss": "CrossEntropyLoss", "optimizer": "SGD", "epochs": 1}
    return resolved(body | {"dataset": {"type": "Digits", "validation_split": 0.2, **dataset}})


def splits_of(size: int, *, fill: int) -> dict[str, Packed]:
    """Two equal splits of `size` bytes each."""
    split = Packed(torch.full((size, 1, 1, 1), fill, dtype=torch.uint8), torch.zeros(size, dtype=torch.int64))
    return {"train": split, "test": split}


def test_cached_samples_are_those_of_the_files_in_values_order_and_strides(tmp_path: Path):
    """First read, then mapped: all three splits, and the digest."""
    cache = DecodedCache(folder=tmp_path, limit_bytes=16 * MIB)
    spec = digits()

    plain = load_splits(spec, datasets_dir=Path())
    first, second = (load_splits(spec, datasets_dir=Path(), cache=cache) for _ in range(2))

    assert cache.find(source_key(spec.dataset, Path())) is not None
    assert plain.digest == first.digest == second.digest
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(second, part), getattr(plain, part)
        indices = torch.arange(len(theirs)).flip(0)
        for mine, expected in zip(ours.batch(indices), theirs.batch(indices), strict=True):
            assert torch.equal(mine, expected)
            assert mine.stride() == expected.stride()


def test_writing_to_what_was_mapped_changes_no_other_jobs_data(tmp_path: Path):
    """Pages are private."""
    cache = DecodedCache(folder=tmp_path, limit_bytes=MIB)
    cache.put("key", splits_of(10, fill=7), "digest")

    found = cache.find("key")
    assert found is not None
    found[0]["train"].images.zero_()

    again = cache.find("key")
    assert again is not None
    assert int(again[0]["train"].images.sum()) == 70


def test_what_went_unused_for_longest_goes_first(tmp_path: Path):
    """Two fit; the third takes the place of the older one, and the name of what went is gone too."""
    size = 1000  # bytes of images, and eight times that of labels, in each of two splits
    cache = DecodedCache(folder=tmp_path, limit_bytes=2 * 18 * size + 500)
    for at, name in enumerate(("old", "older", "new")):
        cache.put(name, splits_of(size, fill=at), name)
        if name != "new":
            os.utime(tmp_path / "content" / name, (1000 - at, 1000 - at))

    assert cache.find("older") is None
    assert cache.find("old") is not None
    assert cache.find("new") is not None
    assert {path.name for path in (tmp_path / "sources").iterdir()} == {"old", "new"}


def test_more_than_the_limit_is_not_kept(tmp_path: Path):
    """Nothing is written at all."""
    cache = DecodedCache(folder=tmp_path, limit_bytes=17)
    cache.put("key", splits_of(1, fill=0), "digest")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("harm", ["cut", "gone", "no shapes"])
def test_what_is_not_whole_counts_as_not_there(tmp_path: Path, harm: str):
    """A file cut short would be read past its end."""
    cache = DecodedCache(folder=tmp_path, limit_bytes=MIB)
    cache.put("key", splits_of(10, fill=1), "digest")
    images = tmp_path / "content" / "digest" / "train.images"
    if harm == "cut":
        os.truncate(images, 4)
    elif harm == "gone":
        images.unlink()
    else:
        (tmp_path / "content" / "digest" / "shapes.json").write_text("{")

    assert cache.find("key") is None


def test_a_changed_file_has_another_name(tmp_path: Path):
    """By size or time, without reading it."""
    spec = digits().dataset.model_copy(update={"type": "USPS"})
    file = tmp_path / "usps.bz2"
    file.write_bytes(b"a")
    before = source_key(spec, tmp_path)
    file.write_bytes(b"ab")

    assert source_key(spec, tmp_path) != before


def test_a_folder_that_cannot_be_made_is_no_fault(tmp_path: Path):
    """The data are read from their files each time."""
    (tmp_path / "file").touch()
    cache = DecodedCache(folder=tmp_path / "file" / "cache", limit_bytes=MIB)

    assert len(load_splits(digits(), datasets_dir=Path(), cache=cache).train) == 1150


def test_what_contained_code_is_shown_of_the_cache_is_its_own_data_and_enough(tmp_path: Path):
    """Another project's decoded upload lies right beside it."""
    cache, shown = (DecodedCache(folder=tmp_path / name, limit_bytes=16 * MIB) for name in ("cache", "shown"))
    spec = digits()
    assert entry_of(cache.folder, spec.dataset, Path()) == []
    cache.put("theirs", splits_of(10, fill=7), "digest-of-theirs")
    plain = load_splits(spec, datasets_dir=Path(), cache=cache)

    for path in entry_of(cache.folder, spec.dataset, Path()):
        target = shown.folder / path.relative_to(cache.folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)

    found = shown.find(source_key(spec.dataset, Path()))
    assert found is not None
    assert f"sha256:{found[1]}" == plain.digest
    assert [path.name for path in (shown.folder / "content").iterdir()] == [found[1]]
    assert len(list((shown.folder / "sources").iterdir())) == 1
