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


def zip_special(mode: int) -> bytes:
    """An entry that is a device, a pipe or a socket by its mode."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        entry = zipfile.ZipInfo("train/cat/odd.png")
        entry.create_system, entry.external_attr = 3, mode << 16
        archive.writestr(entry, b"x")
    return out.getvalue()


def zip_renamed(name: bytes, *, everywhere: bool) -> bytes:
    """A zip whose first entry got another name of equal length afterwards: zipfile itself would not write it. Or only before its bytes."""
    data = zipped({"train/cat/0.png": image(), "train/cat/1.png": image()})
    return data.replace(b"train/cat/0.png", name, -1 if everywhere else 1)


def zip_unknown_method() -> bytes:
    data = bytearray(zipped(class_folders()))
    for mark, offset in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        at = data.find(mark)
        data[at + offset : at + offset + 2] = struct.pack("<H", 99)
    return bytes(data)


def zip_quine() -> bytes:
    """Many names for the same packed bytes (Fifield, "A better zip bomb", 2019): the directory names one entry again and again."""
    data = zipped({"train/cat/0.png": bytes(2**20)}, compression=zipfile.ZIP_DEFLATED)
    end = data.rfind(b"PK\x05\x06")
    size, start = struct.unpack("<II", data[end + 12 : end + 20])
    entry, times = data[start : start + size], 200
    return data[:start] + entry * times + struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, times, times, size * times, start, 0)


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


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 512)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    """A tar whose one entry has these records before it; they overrule what its header says (POSIX.1-2017, pax)."""
    told = b"".join(pax_record(*each) for each in records)
    before, entry = tarfile.TarInfo("pax"), tarfile.TarInfo("train/cat/0.png")
    before.type, before.size, entry.size = tarfile.XHDTYPE, len(told), len(image())
    heads = (each.tobuf(tarfile.USTAR_FORMAT) for each in (before, entry))
    return next(heads) + padded(told) + next(heads) + padded(image()) + bytes(1024)


def pax_record(name: bytes, value: bytes) -> bytes:
    """Its length, which counts itself, its name and its value."""
    rest = b" " + name + b"=" + value + b"\n"
    length = next(size for size in range(len(rest), len(rest) + 9) if len(str(size)) + len(rest) == size)
    return str(length).encode() + rest


def tar_headers(count: int) -> bytes:
    """Headers that say more of the header after them, and no entry."""
    told = pax_record(b"comment", b"x")
    before = tarfile.TarInfo("pax")
    before.type, before.size = tarfile.XHDTYPE, len(told)
    return (before.tobuf(tarfile.USTAR_FORMAT) + padded(told)) * count + bytes(1024)


def tar_long_name(size: int) -> bytes:
    """A name as long as that, packed to a thousandth: tarfile reads it whole before anybody sees it."""
    before = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    before.size = size
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
        packed.write(before.tobuf(tarfile.GNU_FORMAT))
        for _ in range(size // 2**20):
            packed.write(b"a" * 2**20)
    return out.getvalue()


def tar_sparse_map() -> bytes:
    """A sparse file of the pax form 1.0, whose map of holes is as long as all that follows."""
    records = [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", b"x"), (b"GNU.sparse.realsize", b"9")]
    told = b"".join(pax_record(*each) for each in records)
    before, entry = tarfile.TarInfo("pax"), tarfile.TarInfo("x")
    before.type, before.size, entry.size = tarfile.XHDTYPE, len(told), 8**11 - 1
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1) as packed:
        packed.write(before.tobuf(tarfile.USTAR_FORMAT) + padded(told) + entry.tobuf(tarfile.USTAR_FORMAT) + b"99999999999\n")
        for _ in range(100):
            packed.write(b"0\n" * 2**19)
    return out.getvalue()


def tar_damaged() -> bytes:
    """A header in the middle that lost a bit: what follows it must not be lost in silence."""
    data = bytearray(tarred(class_folders()))
    data[1024 + 148] ^= 1
    return bytes(data)


def many_entries() -> bytes:
    return zipped({f"train/cat/{at}.png": b"" for at in range(2_001)})


def png_of(width: int, height: int, *, text: bytes = b"") -> bytes:
    """A PNG whose head says any size, with hardly a byte of pixels; and a packed text."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    said = chunk(b"zTXt", b"k\0\0" + zlib.compress(text)) if text else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + said + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def among_images(odd: bytes, ending: str = "png") -> bytes:
    """A good data set but for one file."""
    return zipped(class_folders(**{f"train/cat/x.{ending}": odd}))


def jpeg_of(side: int) -> bytes:
    """A JPEG of 16 by 16 whose head says that it is larger."""
    data = bytearray(image(3, size=(16, 16), format="JPEG"))
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", side, side)
    return bytes(data)


def deep_pixels() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((8, 8), np.uint16)).save(out, "PNG")
    return out.getvalue()


def npz(**arrays: Any) -> bytes:
    out = io.BytesIO()
    np.savez(out, **arrays)
    return out.getvalue()


class Payload:
    """What runs where somebody unpickles it."""

    def __reduce__(self) -> Any:
        return exec, ("import builtins; builtins.trainyard_unpickled = True",)


def pickled(name: str) -> bytes:
    out = io.BytesIO()
    np.savez(out, **{"x": X, "y": Y} | {name: np.array([Payload()] * 6, dtype=object)})
    return out.getvalue()


def headed_npy(head: bytes) -> bytes:
    """An array's head, with no byte behind it."""
    head += b" " * (63 - (10 + len(head)) % 64) + b"\n"
    return zipped({"x.npy": b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head})


def shaped_npy(shape: str) -> bytes:
    return headed_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': %s, }" % shape.encode())


def parquet(**columns: Any) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


def parquet_of_zeros(rows: int) -> bytes:
    """A thousandth of a byte for each row: one value, so many times."""
    table = pa.table({"a": pa.array(np.zeros(rows // 10, np.int8)), "label": pa.array(np.zeros(rows // 10, np.int8))})
    out = io.BytesIO()
    with pq.ParquetWriter(out, table.schema) as writer:
        for _ in range(10):
            writer.write_table(table, row_group_size=rows)
    return out.getvalue()


def idx_zipped(images: bytes) -> bytes:
    labels = gzip.compress(struct.pack(">II", 0x801, 4) + bytes(4))
    return zipped({"train-images-idx3-ubyte.gz": images, "train-labels-idx1-ubyte.gz": labels})


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
    "zip terminal command": (lambda: zipped(class_folders(**{"train/\x9b2Jcat/0.png": image()})), "unsafe_path", "x9b2J"),
    "zip name turned round": (lambda: zipped(class_folders(**{"train/\u202egnp.tac/0.png": image()})), "unsafe_path", "u202e"),
    "zip name in two lines": (lambda: zipped(class_folders(**{"train/cat\u2028dog/0.png": image()})), "unsafe_path", "u2028"),
    "zip name without width": (lambda: zipped(class_folders(**{"train/\u200b/0.png": image()})), "unsafe_path", "u200b"),
    "zip name of blanks": (lambda: zipped(class_folders(**{"train/ /0.png": image()})), "unsafe_path", "train/ /"),
    "zip twice": (lambda: zip_renamed(b"train/cat/1.png", everywhere=True), "duplicate_entry", "train/cat/1.png"),
    "zip of two names": (lambda: zip_renamed(b"../../etc/0.png", everywhere=False), "broken_archive", "train/cat/0.png"),
    "zip unknown method": (zip_unknown_method, "broken_archive", "packed in a way"),
    "zip device": (lambda: zip_special(0o020666), "not_a_file", "a device"),
    "zip pipe": (lambda: zip_special(0o010666), "not_a_file", "a pipe"),
    "zip of one entry many times": (zip_quine, "bomb", "bomb"),
    "zip in a class folder": (lambda: zipped(class_folders(**{"train/cat/in.zip": bomb()})), "not_an_image", "train/cat/in.zip"),
    "zip in a zip": (lambda: zipped({"in.zip": zipped(class_folders())}), "unexpected", "in.zip"),
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
    "tar damaged in the middle": (tar_damaged, "broken_archive", "checksum"),
    "tar name of 200 MB": (lambda: tar_long_name(200 * 2**20), "bomb", "1,048,576"),
    "tar headers without end": (lambda: tar_headers(3_000), "broken_archive", "more than 8 headers"),
    "tar map without end": (tar_sparse_map, "not_a_file", "sparse"),
    "tar sparse": (lambda: tarred({}, more=(special("x", tarfile.GNUTYPE_SPARSE),)), "not_a_file", "sparse"),
    "tar terminal command": (lambda: tarred(class_folders(**{"train/\x9b2Jcat/0.png": image()})), "unsafe_path", "x9b2J"),
    "pax slip": (lambda: pax((b"path", b"../../x.png")), "unsafe_path", "../../x.png"),
    "pax name with a null": (lambda: pax((b"path", b"train/cat/0.png\0.exe")), "unsafe_path", "x00"),
    "pax size beyond all": (lambda: pax((b"size", b"9" * 30)), "bomb", "bomb"),
    "pax size below zero": (lambda: pax((b"size", b"-512")), "lying_size", "negative"),
    "pax sparse": (lambda: pax((b"GNU.sparse.map", b"0,1,2"), (b"GNU.sparse.size", b"9")), "not_a_file", "train/cat/0.png"),
    "pax of no text": (lambda: pax((b"hdrcharset", b"BINARY"), (b"path", b"\xff\xfe.png")), "unsafe_path", "udcff"),
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
    "image smaller than it says": (lambda: among_images(png_of(64, 64)), "not_an_image", "truncated"),
    "image with a bomb for a text": (lambda: among_images(png_of(1, 1, text=bytes(100 * 2**20))), "not_an_image", "too large"),
    "jpeg that says 65,000 a side": (lambda: among_images(jpeg_of(65_000), "jpg"), "not_an_image", "pixels"),
    "script called an image": (lambda: among_images(b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>"), "not_an_image", "x.png"),
    "PostScript called an image": (lambda: among_images(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"), "not_an_image", "x.png"),
    "gif called an image": (lambda: among_images(image(format="GIF")), "not_an_image", "x.png"),
    "bmp below zero": (
        lambda: among_images(b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, -5, -5, 1, 24, 0, 0, 0, 0, 0, 0), "bmp"),
        "not_an_image",
        "x.bmp",
    ),
    "tiff of noise": (lambda: among_images(b"II*\0\x08\0\0\0\xff\xff" + b"\xff" * 5_000, "tif"), "not_an_image", "x.tif"),
    "ppm of 5,000 digits": (lambda: among_images(b"P5 " + b"9" * 5_000 + b" 1 255\n", "ppm"), "not_an_image", "x.ppm"),
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
    "npz with a pickle": (lambda: pickled("x"), "broken_array", "x"),
    "npz with pickled class names": (lambda: pickled("classes"), "broken_array", "classes"),
    "npz that lies": (lambda: shaped_npy("(10000000000,)"), "broken_array", "x"),
    "npz below zero": (lambda: shaped_npy("(-4, 4)"), "broken_array", "x"),
    "npz beyond all numbers": (lambda: shaped_npy("(4611686018427387904, 4)"), "broken_array", "x"),
    "npz of rows of nothing": (lambda: shaped_npy("(1000000000000, 0)"), "samples", "1000000000000"),
    "npz of brackets": (lambda: headed_npy(b"(" * 9_000), "broken_array", "x"),
    "npz of records": (lambda: npz(x=np.zeros(6, [("a", "f4")]), y=Y), "samples", "train"),
    "npz of blobs": (lambda: npz(x=np.zeros(6, "V2000"), y=Y), "samples", "train"),
    "npz of 20 dimensions": (lambda: npz(x=np.zeros((6,) + (1,) * 20), y=Y), "samples", "train"),
    "npz names that steer a terminal": (lambda: npz(x=X, y=Y, classes=np.array(["a\x1b[2J", "b"])), "class_names", "x1b"),
    "npz names turned round": (lambda: npz(x=X, y=Y, classes=np.array(["a", "\u202eb"])), "class_names", "u202e"),
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
    "idx of 255 dimensions": (
        lambda: zipped(idx(4, 4) | {"train-images-idx3-ubyte": b"\0\0\x08\xff" + b"\0\0\0\1" * 255 + b"x"}),
        "broken_idx",
        "train",
    ),
    "idx beyond all numbers": (
        lambda: zipped(idx(4, 4) | {"train-images-idx3-ubyte": b"\0\0\x08\4" + struct.pack(">I", 2**16) * 4}),
        "broken_idx",
        "65536",
    ),
    "idx zipped and torn": (lambda: idx_zipped(gzip.compress(bytes(5_000))[:12] + b"\xff" * 40), "broken_idx", "unpacked"),
    "idx bomb": (lambda: idx_zipped(gzip.compress(bytes(110 * 2**20), 1)), "broken_idx", "bomb"),
    "idx of other lengths": (lambda: zipped(idx(4, 3)), "lengths_differ", "train"),
    "csv of a billion columns": (lambda: b"a," * 2**20, "too_many_columns", "first line"),
    "csv of many columns": (lambda: csv(",".join(f"c{at}" for at in range(10_001)), ""), "too_many_columns", "10,001"),
    "csv ragged": (lambda: csv("a,b", "1,2", "3"), "broken_table", "read"),
    "csv column that steers a terminal": (lambda: csv("a\x1b[2J,label", "1,x", "2,y"), "unsafe_name", "x1b"),
    "csv column turned round": (lambda: csv("a\u202e,label", "1,x", "2,y"), "unsafe_name", "u202e"),
    "csv with an open quote": (lambda: csv('"a,label', "1,x", "2,y"), "unsafe_name", "a,label"),
    "csv of no text": (lambda: "a,b\n1,é\n".encode("latin-1"), "not_text", "b"),
    "csv with mixed types": (lambda: csv("a,label", "1,x", "2,y", "abc,x", "4,y"), "mixed_types", "row 3"),
    "csv with empty rows": (lambda: csv("a,label", "1,x", ",", "2,y"), "empty_rows", "row 2"),
    "csv with infinity": (lambda: csv("a,label", "1,x", "inf,y", "3,x"), "not_finite", "row 2"),
    "csv with an empty column": (lambda: csv("a,b,label", "1,,x", "2,,y"), "empty_column", "b"),
    "csv without rows": (lambda: csv("a,b,label"), "empty", "no rows"),
    "csv with one name twice": (lambda: csv("a,a,label", "1,2,x"), "duplicate_column", "a"),
    "csv with a column without name": (lambda: csv("a,,label", "1,2,x"), "unnamed_column", "name"),
    "parquet of 200 million zeros": (lambda: parquet_of_zeros(100_000_000), "bomb", "200,000,000"),
    "parquet of a mark alone": (lambda: b"PAR1" + b"\xff" * 100 + struct.pack("<I", 2**31 - 1) + b"PAR1", "broken_table", "read"),
    "parquet column that steers a terminal": (lambda: parquet(**{"a\x1b[2J": [1, 2], "label": ["x", "y"]}), "unsafe_name", "x1b"),
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
