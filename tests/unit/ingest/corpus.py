"""Uploads that are hostile or broken, each made in a few lines: (file's bytes, code of the flaw, what its entry or detail has to name)."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image


def image(shade: int = 0, *, size: tuple[int, int] = (8, 8), mode: str = "L", format: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.new(mode, size, shade if mode == "L" else (shade,) * len(mode)).save(out, format)
    return out.getvalue()


def class_folders(**more: bytes) -> dict[str, bytes]:
    """Two classes of two images each, and whatever else."""
    return {f"train/{name}/{at}.png": image(at) for name in ("cat", "dog") for at in range(2)} | more


def zipped(files: Mapping[str, bytes], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", compression) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def tarred(files: Mapping[str, bytes], *, mode: Any = "w", more: tuple[tarfile.TarInfo, ...] = ()) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for entry in more:
            archive.addfile(entry)
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.linkname = kind, target
    return entry


def zip_link() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("train/cat/passwd.png")
        entry.create_system, entry.external_attr = 3, 0o120777 << 16
        archive.writestr(entry, "/etc/passwd")
    return out.getvalue()


def zip_twice() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entries = [zipfile.ZipInfo("train/cat/0.png") for _ in range(2)]
        for entry in entries:
            # the second one's name is changed afterwards: zipfile itself would warn
            archive.writestr(entry, image())
            entry.filename = "train/cat/0.png"
    return out.getvalue()


def zip_encrypted() -> bytes:
    data = bytearray(zipped(class_folders()))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset] |= 1
            at = data.find(mark, at + 4)
    return bytes(data)


def zip_lying(said: int) -> bytes:
    """The directory says that an entry has another size than it has."""
    data = bytearray(zipped(class_folders(), compression=zipfile.ZIP_DEFLATED))
    for mark, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        at = data.find(mark)
        data[at + offset : at + offset + 4] = struct.pack("<I", said)
    return bytes(data)


def zip_bad_crc() -> bytes:
    data = bytearray(zipped(class_folders()))
    at = data.find(b"IHDR")
    data[at + 4] ^= 1
    return bytes(data)


def bomb() -> bytes:
    return zipped({"train/cat/0.png": bytes(110 * 2**20)}, compression=zipfile.ZIP_DEFLATED)


def tar_bomb() -> bytes:
    return gzip.compress(tarred({"train/cat/0.png": bytes(110 * 2**20)}), 1)


def gzip_zeros() -> bytes:
    """A tar whose end is followed by zeros without end."""
    return gzip.compress(tarred(class_folders()) + bytes(110 * 2**20), 1)


def many_entries() -> bytes:
    return zipped({f"train/cat/{at}.png": b"" for at in range(2_001)})


def png_of(width: int, height: int) -> bytes:
    """A PNG whose head says any size, with hardly a byte of pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def deep_pixels() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(out, "PNG")
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


def pickled() -> bytes:
    out = io.BytesIO()
    np.savez(out, x=np.array([{"a": 1}], dtype=object), y=np.array([0]))
    return out.getvalue()


def lying_npy() -> bytes:
    """An array's head that promises 80 GB, with no byte behind it."""
    head = b"{'descr': '<f8', 'fortran_order': False, 'shape': (10000000000,), }"
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return zipped({"x.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head, "y.npy": b""})


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def idx(images: int, labels: int, *, said: int | None = None) -> dict[str, bytes]:
    head = struct.pack(">IIII", 0x803, said or images, 2, 2)
    return {
        "train-images-idx3-ubyte": head + bytes(4 * images),
        "train-labels-idx1-ubyte": struct.pack(">II", 0x801, labels) + bytes(at % 2 for at in range(labels)),
    }


def csv(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


X = np.zeros((6, 4), np.float32)
Y = np.array([0, 1, 0, 1, 0, 1])
GOOD_CSV = csv("a,b,label", "1,2,x", "3,4,y", "5,6,x")

HOSTILE: dict[str, tuple[Callable[[], bytes], str, str]] = {
    "zip slip": (lambda: zipped({"../../etc/cron.d/evil": b"x"}), "unsafe_path", "../../etc/cron.d/evil"),
    "zip slip inside": (lambda: zipped({"train/cat/../../../x.png": b"x"}), "unsafe_path", "train/cat/../../../x.png"),
    "zip absolute": (lambda: zipped({"/etc/passwd": b"x"}), "unsafe_path", "/etc/passwd"),
    "zip backslash": (lambda: zipped({"..\\..\\x.png": b"x"}), "unsafe_path", "x.png"),
    "zip drive": (lambda: zipped({"C:/x.png": b"x"}), "unsafe_path", "C:/x.png"),
    "zip link": (zip_link, "not_a_file", "train/cat/passwd.png"),
    "zip control characters": (lambda: zipped({"train/cat/\x1b[2J.png": b"x"}), "unsafe_path", "control"),
    "zip long name": (lambda: zipped({"train/cat/" + "a" * 300 + ".png": b"x"}), "unsafe_path", "too long"),
    "zip deep": (lambda: zipped({"a/" * 50 + "x.png": b"x"}), "unsafe_path", "deeper"),
    "zip encrypted": (zip_encrypted, "encrypted", "train/cat/0.png"),
    "zip lying small": (lambda: zip_lying(3), "broken_archive", "train/cat/0.png"),
    "zip lying large": (lambda: zip_lying(10_000), "truncated", "train/cat/0.png"),
    "zip claims all": (lambda: zip_lying(2**32 - 2), "bomb", "bomb"),
    "zip bad checksum": (zip_bad_crc, "broken_archive", "train/cat/0.png"),
    "zip bomb": (bomb, "bomb", "bomb"),
    "zip cut off": (lambda: zipped(class_folders())[:-40], "broken_archive", "zip"),
    "zip file as folder": (lambda: zipped({"train/cat": b"x", "train/cat/0.png": image()}), "duplicate_entry", "train/cat/0.png"),
    "zip empty": (lambda: zipped({}), "empty", "nothing"),
    "tar slip": (lambda: tarred({"../x.png": b"x"}), "unsafe_path", "../x.png"),
    "tar absolute": (lambda: tarred({"/var/x.png": b"x"}), "unsafe_path", "/var/x.png"),
    "tar symbolic link": (lambda: tarred({}, more=(special("train", tarfile.SYMTYPE, "/etc"),)), "not_a_file", "train"),
    "tar hard link": (lambda: tarred(class_folders(), more=(special("x", tarfile.LNKTYPE, "/etc/passwd"),)), "not_a_file", "x"),
    "tar empty link name": (lambda: tarred({}, more=(special("a", tarfile.SYMTYPE, ""),)), "not_a_file", "a"),
    "tar device": (lambda: tarred({}, more=(special("null", tarfile.CHRTYPE),)), "not_a_file", "null"),
    "tar pipe": (lambda: tarred({}, more=(special("pipe", tarfile.FIFOTYPE),)), "not_a_file", "pipe"),
    "tar twice": (lambda: tarred(class_folders()) and tar_twice(), "duplicate_entry", "train/cat/0.png"),
    "tar cut off": (lambda: tarred(class_folders())[:2_000], "broken_archive", "tar"),
    "tar cut off between entries": (lambda: tarred(class_folders())[:2_048], "truncated", "end mark"),
    "tar bomb": (tar_bomb, "bomb", "bomb"),
    "zeros behind a tar": (gzip_zeros, "bomb", "bomb"),
    "gzip cut off": (lambda: tarred(class_folders(), mode="w:gz")[:-20], "broken_archive", "unpacked"),
    "gzip of no tar": (lambda: gzip.compress(b"hello"), "broken_archive", "tar"),
    "bzip2 cut off": (lambda: tarred(class_folders(), mode="w:bz2")[:-20], "broken_archive", ""),
    "xz cut off": (lambda: tarred(class_folders(), mode="w:xz")[:-20], "broken_archive", ""),
    "nothing at all": (lambda: b"", "broken_table", "columns"),
    "noise": (lambda: bytes(range(256)) * 20, "unknown_format", "neither"),
    "text as an image": (lambda: zipped(class_folders(**{"train/cat/x.png": b"hello"})), "not_an_image", "train/cat/x.png"),
    "image cut off": (
        lambda: zipped(class_folders(**{"train/cat/x.png": image(1, size=(64, 64))[:60]})),
        "not_an_image",
        "train/cat/x.png",
    ),
    "image of 10 gigapixels": (lambda: zipped(class_folders(**{"train/cat/x.png": png_of(100_000, 100_000)})), "not_an_image", "pixels"),
    "image of 60 megapixels": (lambda: zipped(class_folders(**{"train/cat/x.png": png_of(10_000, 6_000)})), "not_an_image", "pixels"),
    "image of 16 bits": (lambda: zipped(class_folders(**{"train/cat/x.png": deep_pixels()})), "not_an_image", "mode"),
    "script among images": (lambda: zipped(class_folders(**{"train/cat/x.svg": b"<svg/>"})), "not_an_image", "train/cat/x.svg"),
    "empty class": (lambda: zipped(class_folders(**{"train/bird/": b""})), "empty_class", "train/bird"),
    "class only in test": (lambda: zipped(class_folders(**{"test/bird/0.png": image()})), "unknown_class", "test/bird"),
    "one class": (lambda: zipped({"train/cat/0.png": image()}), "no_classes", "one class"),
    "images beside a class": (lambda: zipped({"0.png": image(), "cat/1.png": image()}), "no_classes", "one class folder"),
    "note among images": (lambda: zipped({"0.png": image(), "note.txt": b"hello"}), "not_an_image", "note.txt"),
    "torn image among images": (lambda: zipped({"0.png": image(), "1.png": image()[:40]}), "not_an_image", "1.png"),
    "table names a file that is not there": (
        lambda: zipped({"a.png": image(), "labels.csv": csv("file,label", "a.png,x", "b.png,y")}),
        "no_file",
        "b.png",
    ),
    "table names a file outside": (
        lambda: zipped({"a.png": image(), "labels.csv": csv("file,label", "a.png,x", "../b.png,y")}),
        "no_file",
        "../b.png",
    ),
    "image without label": (
        lambda: zipped({"a.png": image(), "b.png": image(), "labels.csv": csv("file,label", "a.png,x")}),
        "no_label",
        "b.png",
    ),
    "label missing": (
        lambda: zipped({"a.png": image(), "labels.csv": csv("file,label,", "a.png,").replace(b"label,", b"label")}),
        "no_label",
        "row 1",
    ),
    "table without files": (lambda: zipped({"a.png": image(), "labels.csv": csv("name,label", "a.png,x")}), "no_files", "labels.csv"),
    "unknown split": (
        lambda: zipped({"a.png": image(), "labels.csv": csv("file,label,split", "a.png,x,holdout")}),
        "unknown_split",
        "row 1",
    ),
    "npz with a pickle": (pickled, "broken_array", "x"),
    "npz that lies": (lying_npy, "broken_array", "x"),
    "npz with labels of one split": (lambda: npz(x_train=X, y_train=Y, x_test=X), "no_labels", "test"),
    "npz with labels alone": (lambda: npz(y=Y), "no_samples", "train"),
    "npz without labels with NaN": (lambda: npz(x=np.where(np.eye(6, 4) > 0, np.nan, X)), "not_finite", "number 0"),
    "npz of other names": (lambda: npz(foo=X, bar=Y), "no_samples", "foo"),
    "npz of other lengths": (lambda: npz(x=X, y=Y[:3]), "lengths_differ", "6 samples"),
    "npz with NaN": (lambda: npz(x=np.where(np.eye(6, 4) > 0, np.nan, X), y=Y), "not_finite", "number 0"),
    "npz label below zero": (lambda: npz(x=X, y=Y - 1), "label_out_of_range", "-1"),
    "npz label above names": (lambda: npz(x=X, y=Y * 5, classes=np.array(["a", "b"])), "label_out_of_range", "5"),
    "npz empty class": (lambda: npz(x=X, y=Y * 2), "empty_class", "1"),
    "npz splits differ": (lambda: npz(x_train=X, y_train=Y, x_test=X[:, :3], y_test=Y), "shapes_differ", "test"),
    "npz of words": (lambda: npz(x=np.array(["a", "b"]), y=Y[:2]), "samples", "train"),
    "idx cut off": (lambda: zipped(idx(4, 4, said=5)), "broken_idx", "train"),
    "idx without labels": (lambda: zipped({"train-images-idx3-ubyte": idx(4, 4)["train-images-idx3-ubyte"]}), "no_samples", "labels"),
    "idx of other lengths": (lambda: zipped(idx(4, 3)), "lengths_differ", "train"),
    "csv of a billion columns": (lambda: b"a," * 2**20, "too_many_columns", "first line"),
    "csv of many columns": (lambda: csv(",".join(f"c{at}" for at in range(10_001)), ""), "too_many_columns", "10,001"),
    "csv ragged": (lambda: csv("a,b", "1,2", "3"), "broken_table", "read"),
    "csv of no text": (lambda: "a,b\n1,é\n".encode("latin-1"), "not_text", "b"),
    "csv with mixed types": (lambda: csv("a,label", "1,x", "2,y", "abc,x", "4,y"), "mixed_types", "row 3"),
    "csv with empty rows": (lambda: csv("a,label", "1,x", ",", "2,y"), "empty_rows", "row 2"),
    "csv with infinity": (lambda: csv("a,label", "1,x", "inf,y", "3,x"), "not_finite", "row 2"),
    "csv with an empty column": (lambda: csv("a,b,label", "1,,x", "2,,y"), "empty_column", "b"),
    "csv without rows": (lambda: csv("a,b,label"), "empty", "no rows"),
    "csv with one name twice": (lambda: csv("a,a,label", "1,2,x"), "duplicate_column", "a"),
    "csv with a column without name": (lambda: csv("a,,label", "1,2,x"), "unnamed_column", "name"),
    "parquet cut off": (lambda: parquet(a=[1, 2], label=["x", "y"])[:-30], "broken_table", "read"),
    "splits of other kinds": (lambda: zipped({"train.csv": GOOD_CSV, "test.csv": csv("a,b,label", "one,2,x")}), "columns_differ", "words"),
    "several tables": (lambda: zipped({"one.csv": GOOD_CSV, "two.csv": GOOD_CSV}), "several_tables", "one.csv, two.csv"),
    "splits of other columns": (lambda: zipped({"train.csv": GOOD_CSV, "test.csv": csv("a,c,label", "1,2,x")}), "columns_differ", "test"),
}


def tar_twice() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for _ in range(2):
            entry = tarfile.TarInfo("train/cat/0.png")
            entry.size = len(image())
            archive.addfile(entry, io.BytesIO(image()))
    return out.getvalue()
