"""The reader of tars beside those of Python and GNU, and with every header damaged."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.ingest.corpus import padded, pax_record, special
from worker.ingest.flaws import BadData
from worker.ingest.tars import BLOCK, Tar

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
names = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=150).filter(
    lambda name: name not in (".", "..")
)
trees = st.dictionaries(names, st.binary(max_size=2_000), max_size=6)


def read(data: bytes) -> dict[str, bytes | None]:
    """Each entry's bytes; None for a folder."""
    tar = Tar(io.BytesIO(data), weigh=lambda _: None)
    return {entry.name: tar.read() if entry.kind == "file" else None for entry in tar.entries()}


def made(files: dict[str, bytes], format: str) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=FORMATS[format]) as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return out.getvalue()


@pytest.mark.parametrize("format", ["gnu", "pax"])
@given(files=trees)
def test_what_tarfile_writes_is_read(format: str, files: dict[str, bytes]):
    """Names of any length and letters, files of any size."""
    assert read(made(files, format)) == files


@pytest.mark.parametrize("format", ["v7", "oldgnu", "gnu", "ustar", "posix"])
def test_what_gnu_tar_writes_is_read(format: str, tmp_path: Path):
    """Folders, names that do not fit, an empty file; and the links, devices and holes that it may hold besides are refused by name."""
    long = f"{'long-' * 15}name"
    files = {"a.txt": b"a", "empty": b"", f"{long}/b.bin": bytes(5_000)} if format != "v7" else {"a.txt": b"a", "empty": b""}
    for name, data in files.items():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(data)

    def tar(*options: str) -> bytes:
        command = ["tar", f"--format={format}", "-C", str(tmp_path / "tree"), *options, "-cf", "-", "."]
        return subprocess.run(command, capture_output=True, check=True).stdout

    found = read(tar())
    assert {name.removeprefix("./"): data for name, data in found.items() if data is not None} == files
    assert found["./"] is None
    (tmp_path / "tree" / "z-link").symlink_to("/etc/passwd")
    with pytest.raises(BadData, match=r"z-link: It is a link"):
        read(tar())


def test_a_file_with_holes_is_refused(tmp_path: Path):
    """As GNU's tar writes it, in each of its four ways."""
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(2**20)
        file.seek(2**21)
        file.write(b"x")
    for options in (["--format=gnu"], *(["--format=posix", f"--sparse-version={version}"] for version in ("0.0", "0.1", "1.0"))):
        data = subprocess.run(["tar", *options, "-S", "-C", tmp_path, "-cf", "-", "holes"], capture_output=True, check=True).stdout
        with pytest.raises(BadData, match="a sparse file"):
            read(data)


@pytest.mark.parametrize("format", FORMATS)
def test_no_damaged_header_is_passed_over(format: str):
    """Whichever of its bytes lost a bit."""
    data = made({"train/cat/0.png": b"first", f"{'train/dog-' * 9}/1.png": b"second"}, format)
    heads = [at for at in range(0, len(data), BLOCK) if data[at + 257 : at + 262] == b"ustar"]
    assert len(heads) >= 2

    for head in heads:
        for at in range(head, head + BLOCK):
            damaged = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            if at == head + 155:  # behind the checksum's own end, and counted as a space
                assert read(damaged) == read(data)
            else:
                with pytest.raises(BadData):
                    read(damaged)


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (b"", None),
        (pax_record(b"comment", b"a=b\nc"), None),
        (b"9 size=1", "pax header"),
        (b"99 size=1\n", "pax header"),
        (b"5 x=\n", None),
        (b"4 x=\n", "pax header"),
        (b"0 x=1\n", "pax header"),
        (b"x", "pax header"),
        (pax_record(b"size", b"1e9"), "size that is none"),
        (pax_record(b"size", b"0x10"), "size that is none"),
    ],
)
def test_records_of_pax_are_read_to_the_letter(records: bytes, why: str | None):
    before, entry = tarfile.TarInfo("pax"), tarfile.TarInfo("a")
    before.type, before.size = tarfile.XHDTYPE, len(records)
    data = before.tobuf(tarfile.USTAR_FORMAT) + padded(records) + entry.tobuf(tarfile.USTAR_FORMAT) + bytes(2 * BLOCK)

    if why is None:
        assert read(data) == {"a": b""}
    else:
        with pytest.raises(BadData, match=why):
            read(data)


def test_a_header_for_all_entries_names_none():
    """Git's archives have one with a comment; one with a name would give it to every file."""
    for name, is_refused in ((b"comment", False), (b"path", True), (b"size", True)):
        records = pax_record(name, b"1")
        before, entry = tarfile.TarInfo("pax"), tarfile.TarInfo("a")
        before.type, before.size = tarfile.XGLTYPE, len(records)
        data = before.tobuf(tarfile.USTAR_FORMAT) + padded(records) + entry.tobuf(tarfile.USTAR_FORMAT) + bytes(2 * BLOCK)
        if is_refused:
            with pytest.raises(BadData, match="all entries alike"):
                read(data)
        else:
            assert read(data) == {"a": b""}


def test_what_is_passed_over_is_weighed():
    """A file that nobody wants is unpacked all the same; so is what stands before an entry."""
    weighed: list[int] = []
    before = special("././@LongLink", tarfile.GNUTYPE_LONGNAME)
    before.size = 700
    data = before.tobuf(tarfile.GNU_FORMAT) + padded(b"n" * 700) + made({"a": bytes(3_000)}, "gnu")

    tar = Tar(io.BytesIO(data), weigh=weighed.append)

    assert [(entry.name, entry.size) for entry in tar.entries()] == [("n" * 700, 3_000)]
    assert sum(weighed) == 1_024 + 3_000


def test_a_size_in_base_256_is_a_number_like_others():
    """GNU's way beyond 8 GiB; below zero it is a lie."""
    entry = tarfile.TarInfo("a")
    entry.size = 2**40
    with pytest.raises(BadData, match="midst of an entry"):
        read(entry.tobuf(tarfile.GNU_FORMAT))
    entry.size = -1
    with pytest.raises(BadData, match="negative"):
        read(entry.tobuf(tarfile.GNU_FORMAT) + bytes(2 * BLOCK))
