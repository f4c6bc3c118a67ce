"""What is uploaded has the same bytes wherever, and whenever, it is packed."""

from __future__ import annotations

import hashlib
import os
import tarfile
from pathlib import Path

import pytest

from service.client.errors import BadRequest
from service.client.packing import chunks, parcel


def folder(root: Path, *, at: float) -> Path:
    for name in ("b/2.txt", "a/1.txt", "top.txt"):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
        os.utime(file, (at, at))
    return root


def test_a_folder_is_a_tar_of_the_same_bytes_whenever_it_was_written(tmp_path: Path):
    with parcel(folder(tmp_path / "one", at=1)) as first, parcel(folder(tmp_path / "two", at=10**9)) as second:
        assert first.sha256 == second.sha256
        assert first.size == first.path.stat().st_size
        with tarfile.open(first.path) as archive:
            assert archive.getnames() == ["a", "a/1.txt", "b", "b/2.txt", "top.txt"]
        assert hashlib.sha256(b"".join(chunks(first.path))).hexdigest() == first.sha256
        packed = first.path
    assert not packed.exists()


def test_a_file_is_sent_as_it_is(tmp_path: Path):
    (tmp_path / "x.csv").write_bytes(b"a,b\n")
    with parcel(tmp_path / "x.csv") as found:
        assert (found.path, found.size) == (tmp_path / "x.csv", 4)
    assert (tmp_path / "x.csv").exists()


def test_links_are_not_followed(tmp_path: Path):
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "out").symlink_to("/etc")
    with pytest.raises(BadRequest, match="link"), parcel(tmp_path / "set"):
        pass
