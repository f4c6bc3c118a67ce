"""What is found in good data: layout, shape, classes, sizes, counts, spread, columns."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from service.spec.content import Content
from tests.unit.ingest.corpus import class_folders, csv, idx, image, npz, parquet, tarred, zipped
from worker.ingest.inspecting import inspect, unpacked
from worker.ingest.sheet import sheet


def content_of(data: bytes, folder: Path) -> tuple[Content, Path]:
    (folder / "upload").write_bytes(data)
    (folder / "files").mkdir()
    top = unpacked(folder / "upload", folder / "files")
    found = inspect(top)
    assert found.content is not None, found.flaws
    return found.content, top


@pytest.mark.parametrize("packed", [zipped, tarred, lambda files: tarred(files, mode="w:gz"), lambda files: tarred(files, mode="w:xz")])
def test_class_folders_however_they_are_packed(packed, tmp_path: Path):
    files = class_folders(**{"val/cat/9.png": image(3), "__MACOSX/._x": b"noise", "train/.DS_Store": b"noise"})
    content, _ = content_of(packed({f"pets/{name}": data for name, data in files.items()}), tmp_path)

    assert (content.layout, content.samples, content.labels) == ("class_folders", "images", "class")
    assert content.shape == (1, 8, 8)
    assert content.classes == ("cat", "dog")
    assert content.sizes == {"train": 4, "validation": 1}
    assert content.counts == {"cat": {"train": 2, "validation": 1}, "dog": {"train": 2}}
    assert content.mean == (round(0.5 / 255, 6),)
    assert content.places == {"train": ("train",), "validation": ("val",)}


def test_images_of_several_sizes_and_modes_have_three_channels_and_no_size(tmp_path: Path):
    files = class_folders(**{"train/cat/wide.jpg": image(9, size=(16, 8), mode="RGB", format="JPEG")})
    content, _ = content_of(zipped(files), tmp_path)

    assert content.shape == (3, None, None)
    assert len(content.mean) == len(content.std) == 3


@pytest.mark.parametrize(
    ("lines", "labels", "classes"),
    [
        (("file,label", "a.png,no", "b.png,yes"), "class", ("no", "yes")),
        (("image,red,round", "a.png,0,1", "b.png,1,1"), "several", ("red", "round")),
        (("path,age", "a.png,1.5", "b.png,7.25"), "numbers", ("age",)),
        (("filename,class,split", "a.png,x,Train", "b.png,y,test"), "class", ("x", "y")),
    ],
)
def test_a_table_of_labels(lines: tuple[str, ...], labels: str, classes: tuple[str, ...], tmp_path: Path):
    content, _ = content_of(zipped({"a.png": image(1), "b.png": image(2), "labels.csv": csv(*lines)}), tmp_path)

    assert (content.layout, content.labels, content.classes) == ("labelled_images", labels, classes)
    assert sum(content.sizes.values()) == 2


def test_arrays_of_images_numbers_and_several_labels(tmp_path: Path):
    x, y = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4), np.array([0, 1, 2, 0, 1, 2])
    for name, data, shape, kind in (
        ("plain", npz(x=x, y=y), (1, 4, 4), ("images", "class")),
        ("last", npz(images=x[..., None], labels=y), (1, 4, 4), ("images", "class")),
        ("first", npz(x_train=np.repeat(x[:, None], 3, axis=1), y_train=y), (3, 4, 4), ("images", "class")),
        ("numbers", npz(data=x.astype(np.float32), target=y.astype(np.float32)), (4, 4), ("numbers", "numbers")),
        ("several", npz(x=x.astype(np.int64), y=np.eye(6, 3, dtype=np.int64)), (4, 4), ("numbers", "several")),
    ):
        (tmp_path / name).mkdir()
        content, _ = content_of(data, tmp_path / name)
        assert (content.layout, content.shape, (content.samples, content.labels)) == ("arrays", shape, kind)


def test_what_has_no_labels_is_taken_and_says_so(tmp_path: Path):
    """Arrays of samples alone, and images without folders; sizes and spread are those of any other."""
    x = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    flat = {f"photos/{at}.png": image(at) for at in (3, 1, 2)}
    for name, data, layout, sizes, shape in (
        ("arrays", npz(x=x), "arrays", {"train": 6}, (1, 4, 4)),
        ("numbers", npz(x_train=x.astype(np.float32), x_test=x[:2].astype(np.float32)), "arrays", {"train": 6, "test": 2}, (4, 4)),
        ("images", zipped(flat), "images", {"train": 3}, (1, 8, 8)),
    ):
        (tmp_path / name).mkdir()
        content, top = content_of(data, tmp_path / name)
        assert (content.layout, content.labelled, content.labels, content.classes) == (layout, False, None, ())
        assert (content.sizes, content.shape, content.counts) == (sizes, shape, {})
        if content.samples == "images":
            assert sheet(top, content).height == 66
    assert content.mean == (round(2 / 255, 6),)


def test_idx_files_gzipped_or_not(tmp_path: Path):
    plain = idx(6, 6)
    for name, files in (("plain", plain), ("zipped", {f"{name}.gz": gzip.compress(data) for name, data in plain.items()})):
        (tmp_path / name).mkdir()
        content, _ = content_of(tarred({f"MNIST/raw/{file}": data for file, data in files.items()}), tmp_path / name)
        assert (content.layout, content.shape, content.sizes, content.classes) == ("idx", (1, 2, 2), {"train": 6}, ("0", "1"))


def test_columns_of_a_table_have_their_kinds(tmp_path: Path):
    rows = [f"{at},{at / 2},{('Ulm', '', 'Bonn')[at % 3]},{at % 2},{'' if at == 4 else 'true'},2024-01-{at + 1:02}" for at in range(9)]
    content, _ = content_of(csv("count,share,town,flag,known,day", *rows), tmp_path)
    found = {column.name: column for column in content.columns}

    assert content.sizes == {"train": 9}
    assert (found["count"].kind, found["count"].whole, found["count"].least, found["count"].most) == ("numeric", True, 0, 8)
    assert (found["share"].kind, found["share"].whole) == ("numeric", False)
    assert (found["town"].kind, found["town"].values, found["town"].missing) == ("categorical", ("Bonn", "Ulm"), 3)
    assert found["flag"].values == ("0", "1")
    assert (found["known"].kind, found["known"].missing) == ("numeric", 1)
    assert found["day"].kind == "other"


def test_parquet_reads_as_csv_does(tmp_path: Path):
    content, _ = content_of(parquet(a=[1.5, None, 2.5], b=["x", "y", "x"]), tmp_path)

    assert [(column.name, column.kind, column.missing) for column in content.columns] == [("a", "numeric", 1), ("b", "categorical", 0)]


def test_a_sheet_shows_each_class(tmp_path: Path):
    for name, data in (("folders", zipped(class_folders())), ("arrays", npz(x=np.full((6, 8, 8), 255, np.uint8), y=np.arange(6) % 2))):
        (tmp_path / name).mkdir()
        content, top = content_of(data, tmp_path / name)
        out = io.BytesIO()
        sheet(top, content).save(out, "PNG")
        drawn = Image.open(out)
        assert drawn.height == 2 * 66
        assert drawn.width == 120 + 10 * 66
