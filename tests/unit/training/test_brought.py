"""Data that somebody brought: a job and its train.py train to the same weights, whichever way the same samples were packed."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from service.spec.job import JobSpec
from service.spec.naming import as_named
from tests.checking import checked, resolved
from tests.programs import weights_here
from tests.unit.ingest.corpus import npz, tarred, zipped
from worker.ingest.inspecting import inspect, unpacked
from worker.training.cache import DecodedCache
from worker.training.loading import load_splits
from worker.training.loop import train
from worker.training.preparing import prepare

GENERATOR = np.random.default_rng(0)
PIXELS = GENERATOR.integers(0, 256, (60, 6, 5), dtype=np.uint8)
LABELS = np.sort(GENERATOR.integers(0, 3, 60))
NAMES = ("ant", "bee", "cat")
LAYERS = ["Flatten", {"type": "Linear", "out_features": 8}, "ReLU", {"type": "Dropout", "p": 0.2}, {"type": "Linear", "out_features": 3}]


def png(pixels: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def in_folders(*, colour: bool = False) -> dict[str, bytes]:
    images = np.repeat(PIXELS[..., None], 3, axis=3) if colour else PIXELS
    return {f"set/{NAMES[label]}/{at:03}.png": png(images[at]) for at, label in enumerate(LABELS)}


def in_a_table() -> dict[str, bytes]:
    rows = [f"img/{at:03}.png,{NAMES[label]}" for at, label in enumerate(LABELS)]
    files = {f"img/{at:03}.png": png(PIXELS[at]) for at in range(len(LABELS))}
    return files | {"labels.csv": "\n".join(["filename,label", *rows, ""]).encode()}


def split_in_a_table() -> dict[str, bytes]:
    splits = ["train"] * 40 + ["Val"] * 10 + ["test"] * 10
    order = np.random.default_rng(1).permutation(60)
    rows = [f"img/{at:03}.png,{NAMES[LABELS[at]]},{splits[place]}" for place, at in enumerate(order)]
    files = {f"img/{at:03}.png": png(PIXELS[at]) for at in range(len(LABELS))}
    return files | {"labels.csv": "\n".join(["filename,label,split", *rows, ""]).encode()}


def split_in_folders() -> dict[str, bytes]:
    order = np.random.default_rng(1).permutation(60)
    split = {at: "train" if place < 40 else "valid" if place < 50 else "test" for place, at in enumerate(order)}
    return {f"{split[at]}/{NAMES[label]}/{at:03}.png": png(PIXELS[at]) for at, label in enumerate(LABELS)}


def idx() -> dict[str, bytes]:
    def packed(array: np.ndarray) -> bytes:
        return bytes((0, 0, 8, array.ndim)) + b"".join(size.to_bytes(4, "big") for size in array.shape) + array.astype(np.uint8).tobytes()

    parts = {"train": slice(0, 60, 2), "t10k": slice(1, 60, 2)}
    return {
        f"raw/{part}-{kind}": packed(array[rows])
        for part, rows in parts.items()
        for kind, array in (("images-idx3-ubyte", PIXELS), ("labels-idx1-ubyte", LABELS))
    }


UPLOADS: dict[str, bytes] = {
    "folders": tarred(in_folders()),
    "colour folders": zipped(in_folders(colour=True)),
    "split folders": tarred(split_in_folders(), mode="w:gz"),
    "folders with an empty test": zipped(
        {**{f"train/{name.removeprefix('set/')}": data for name, data in in_folders().items()}, "test/": b""}
    ),
    "table of images": zipped(in_a_table()),
    "split table of images": zipped(split_in_a_table()),
    "arrays": npz(x=PIXELS, y=LABELS, classes=np.array(NAMES)),
    "split arrays": npz(x_train=PIXELS[:40, ..., None], y_train=LABELS[:40] % 3, images_test=PIXELS[40:, ..., None], y_test=LABELS[40:]),
    "channels first": npz(x=np.repeat(PIXELS[:, None], 3, axis=1), y=LABELS),
    "numbers": npz(x=PIXELS.astype(np.float64) / 255, y=LABELS),
    "idx": zipped(idx()),
}


def brought(upload: bytes, folder: Path, dataset: Mapping[str, Any] | None = None, **more: Any) -> tuple[JobSpec, Path]:
    """A resolved spec on an upload, and where the upload lies unpacked."""
    (folder / "upload").write_bytes(upload)
    files = folder / "files"
    files.mkdir()
    top = unpacked(folder / "upload", files)
    found = inspect(top)
    assert found.content is not None, found.flaws
    content = found.content.model_copy(update={"top": top.relative_to(files).as_posix()})
    own = {"validation_split": 0.2} if "validation" not in content.sizes else {}
    whole = {"type": "Upload", "name": "ours", "version": "a" * 64, "content": content.model_dump(mode="json"), **own, **(dataset or {})}
    body = {"seed": 5, "dataset": whole, "dataloader": {"batch_size": 7}, "model": {"type": "Sequential", "layers": LAYERS}}
    body |= {"loss": "CrossEntropyLoss", "optimizer": {"type": "SGD", "lr": 0.1}, "epochs": 2, "resources": {"threads": 1}}
    return resolved(body | more), top


def trained(spec: JobSpec, top: Path) -> dict[str, torch.Tensor]:
    run = prepare(spec, datasets_dir=top)
    for _ in train(run):
        pass
    return run.judged.state_dict()


@pytest.mark.parametrize("name", UPLOADS)
def test_train_py_gives_the_weights_of_the_job(name: str, tmp_path: Path):
    spec, top = brought(UPLOADS[name], tmp_path)

    ours = trained(spec, top)
    theirs = weights_here(spec, tmp_path, data=tmp_path / "files")

    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_the_same_samples_train_alike_however_they_are_packed(tmp_path: Path):
    """Folders sort by class, as the labels here are: table and arrays have the same order."""
    weights = []
    for name in ("folders", "table of images", "arrays"):
        folder = tmp_path / name
        folder.mkdir()
        weights.append(trained(*brought(UPLOADS[name], folder)))

    assert all(torch.equal(weights[0][key], other[key]) for other in weights[1:] for key in other)


def test_augmented_images_are_those_of_train_py(tmp_path: Path):
    augmented = {"train_transforms": [{"type": "RandomHorizontalFlip"}], "limit": 30}
    spec, top = brought(UPLOADS["folders"], tmp_path, augmented)

    ours, theirs = trained(spec, top), weights_here(spec, tmp_path, data=tmp_path / "files")

    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_images_of_many_sizes_are_decoded_as_they_are_needed(tmp_path: Path):
    files = {f"{NAMES[at % 2]}/{at:03}.jpg": png(np.full((6 + at % 3, 5, 3), at, np.uint8)) for at in range(20)}
    transforms = [{"type": "Resize", "size": [6, 5]}, "ToImage", {"type": "ToDtype", "dtype": "float32", "scale": True}]
    spec, top = brought(zipped(files), tmp_path, {"transforms": transforms})

    assert spec.dataset.facts.shape == (3, None, None)
    ours, theirs = trained(spec, top), weights_here(spec, tmp_path, data=tmp_path / "files")

    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(("name", "sizes"), [("split folders", [40, 10, 10]), ("folders", [39, 9, 12])])
def test_the_cache_holds_uploads_by_their_version(tmp_path: Path, name: str, sizes: list[int]):
    """Each split with its own samples alone, also where a test split was set aside of one that came."""
    spec, top = brought(UPLOADS[name], tmp_path)
    cache = DecodedCache(folder=tmp_path / "cache", limit_bytes=2**20)

    first = load_splits(spec, datasets_dir=top, cache=cache)
    again = load_splits(spec, datasets_dir=tmp_path / "nowhere", cache=cache)

    assert first.digest == again.digest == f"sha256:{'a' * 64}"
    assert [len(split) for split in (again.train, again.validation, again.test)] == sizes
    for split in ("train", "validation", "test"):
        ours, theirs = getattr(first, split), getattr(again, split)
        assert all(
            torch.equal(a, b) for a, b in zip(ours.batch(torch.arange(len(ours))), theirs.batch(torch.arange(len(ours))), strict=True)
        )


def test_two_shares_for_testing_are_two_entries_of_the_cache(tmp_path: Path):
    """The same samples, cut at two places."""
    cache = DecodedCache(folder=tmp_path / "cache", limit_bytes=2**20)
    for share in (0.2, 0.5, 0.2, 0.5):
        spec, top = brought(UPLOADS["arrays"], Path(tempfile.mkdtemp(dir=tmp_path)), {"test_split": share, "validation_split": 0.0})

        splits = load_splits(spec, datasets_dir=top, cache=cache)

        assert [len(splits.train), len(splits.test)] == [60 - int(60 * share), int(60 * share)]


SEVERAL = npz(x=PIXELS, y=(LABELS[:, None] == [0, 1, 2]).astype(np.int64) | (np.arange(60) % 5 == 0)[:, None], classes=np.array(NAMES))
TABLE_OF_SEVERAL = zipped(
    {f"img/{at:03}.png": png(PIXELS[at]) for at in range(60)}
    | {
        "labels.csv": "\n".join(
            ["file,ant,bee,cat", *(f"img/{at:03}.png,{at % 2},{at % 3 // 2},{at % 5 // 4}" for at in range(60)), ""]
        ).encode()
    }
)


@pytest.mark.parametrize("name", ["folders", "split table of images", "arrays", "idx", "several", "table of several"])
def test_labels_in_another_jobs_order_are_those_of_the_data_under_other_numbers(name: str, tmp_path: Path):
    """For the job and for its train.py alike: the same samples, each with the name that it had."""
    upload = {"several": SEVERAL, "table of several": TABLE_OF_SEVERAL}.get(name) or UPLOADS[name]
    changes = {"loss": "BCEWithLogitsLoss"} if "several" in name else {}
    spec, top = brought(upload, tmp_path, {"validation_split": 0.0} if "split" not in name else {}, **changes)
    content = spec.dataset.content
    assert content is not None
    assert content.labels is not None
    names = (*content.classes[1:], content.classes[0])
    renamed, faults = as_named(content, content.labels, names, pointer="")
    assert not faults
    other = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"content": renamed})})
    cache = DecodedCache(folder=tmp_path / "cache", limit_bytes=2**22)

    plain, moved = (load_splits(each, datasets_dir=top, cache=cache) for each in (spec, other))
    ours, theirs = trained(other, top), weights_here(other, tmp_path, data=tmp_path / "files")

    for part in ("train", "test"):
        (images, labels), (same, others) = (getattr(each, part).batch(torch.arange(len(getattr(each, part)))) for each in (plain, moved))
        assert torch.equal(images, same)
        if labels.dim() == 1:
            assert [content.classes[at] for at in labels.tolist()] == [names[at] for at in others.tolist()]
        else:
            assert torch.equal(labels[:, [1, 2, 0]], others)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", ["arrays", "numbers", "images"])
def test_an_autoencoder_needs_no_labels(name: str, tmp_path: Path):
    """Trained on samples alone, as train.py is."""
    uploads = {
        "arrays": npz(x=PIXELS),
        "numbers": npz(x=PIXELS.astype(np.float32)),
        "images": zipped({f"{at:03}.png": png(PIXELS[at]) for at in range(60)}),
    }
    model = {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 30}]}
    model["layers"].append({"type": "Unflatten", "dim": 1, "unflattened_size": [6, 5] if name == "numbers" else [1, 6, 5]})
    spec, top = brought(uploads[name], tmp_path, {"target": "input"}, model=model, loss="MSELoss", optimizer={"type": "SGD", "lr": 1e-6})

    ours, theirs = trained(spec, top), weights_here(spec, tmp_path, data=tmp_path / "files")

    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_what_has_no_labels_trains_nothing_else(tmp_path: Path):
    """One fault, at what names the data, with both cures."""
    spec, _ = brought(UPLOADS["arrays"], tmp_path)
    body = spec.model_dump(mode="json")
    body["dataset"]["content"] |= {"labels": None, "labelled": False, "classes": [], "counts": {}}

    found = checked(body)

    assert [(fault.pointer, fault.code) for fault in found.errors] == [("/dataset/name", "no_labels")]
    assert "epochs: 0" in (found.errors[0].suggestion or "")


WORDS = GENERATOR.integers(2, 20, (80, 6))
READS_WORDS = [{"type": "Embedding", "num_embeddings": 20, "embedding_dim": 4}, "Flatten", {"type": "Linear", "out_features": 2}]
CUSTOM = """
from torch import nn

class Reads(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(20, 4), nn.Linear(24, 2)

    def forward(self, words):
        return self.head(self.table(words).flatten(1))
"""


@pytest.mark.parametrize("custom", [False, True])
def test_whole_numbers_stay_whole_for_a_model_that_begins_with_an_embedding(custom: bool, tmp_path: Path):
    """Bytes that are no images are whole numbers as well."""
    layers = {"type": "Module", "class_name": "Reads", "code": CUSTOM} if custom else {"type": "Sequential", "layers": READS_WORDS}
    upload = npz(x=WORDS.astype(np.uint8 if custom else np.int32), y=(WORDS[:, 0] > 9).astype(int))
    spec, top = brought(upload, tmp_path, model=layers)

    ours, theirs = trained(spec, top), weights_here(spec, tmp_path, data=tmp_path / "files")

    assert spec.dataset.content is not None
    assert (spec.dataset.content.dtype, spec.dataset.content.span) == ("int64", (2, 19))
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    ("add", "pointer", "code", "cure"),
    [
        (1, "/model/layers/0/num_embeddings", "too_few", "Write num_embeddings: 21."),
        (-5, "/model/layers/0", "negative", "Add 3 to all of them, and upload them again."),
    ],
)
def test_numbers_for_which_there_is_no_vector_are_a_fault(add: int, pointer: str, code: str, cure: str, tmp_path: Path):
    """Told before the job would fail on it."""
    model = {"type": "Sequential", "layers": READS_WORDS}
    body = brought(npz(x=WORDS, y=np.arange(80) % 2), tmp_path, model=model)[0].model_dump(mode="json")
    least, most = body["dataset"]["content"]["span"]
    body["dataset"]["content"]["span"] = [least + add, most + add]

    found = checked(body)

    assert [(fault.pointer, fault.code, fault.suggestion) for fault in found.errors] == [(pointer, code, cure)]
