"""What hostile code leaves in its folder: weighed, looked at and removed, whatever was done to it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from worker import leftovers
from worker.leftovers import Unfit, Weight, check_results, check_written, remove, weigh

DEEP = 3000
"""Levels: beyond PATH_MAX, Python's stack, and the descriptors of a process."""


def nest(folder: Path, levels: int) -> None:
    """Folders in folders, made from inside, as no path reaches the last."""
    descriptor = os.open(folder, os.O_RDONLY)
    for _ in range(levels):
        os.mkdir("deep", dir_fd=descriptor)
        inner = os.open("deep", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=descriptor))
    os.close(descriptor)


def shut(folder: Path) -> None:
    (folder / "shut").mkdir()
    (folder / "shut" / "file").write_text("x")
    (folder / "shut").chmod(0)


ODD: dict[str, Callable[[Path], object]] = {
    "link": lambda folder: (folder / "link").symlink_to("/etc/passwd"),
    "linked folder": lambda folder: (folder / "link").symlink_to("/etc"),
    "pipe": lambda folder: os.mkfifo(folder / "pipe"),
    "newline": lambda folder: (folder / "a\nb").write_text("x"),
    "escape sequence": lambda folder: (folder / "\x1b[2J").write_text("x"),
    "no UTF-8": lambda folder: os.close(os.open(os.fsencode(folder) + b"/\xff", os.O_CREAT | os.O_WRONLY)),
    "long name": lambda folder: (folder / ("a" * 200) / ("b" * 200) / ("c" * 200)).mkdir(parents=True),
    "deep": lambda folder: nest(folder, DEEP),
}


@pytest.mark.parametrize("odd", ODD)
def test_results_are_plain_files_with_plain_names(odd: str, tmp_path: Path):
    """Everything else ends the job before a byte is uploaded."""
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "model.safetensors").write_text("x")
    check_results(tmp_path)
    ODD[odd](tmp_path / "inner")

    try:
        with pytest.raises(Unfit):
            check_results(tmp_path)
    finally:
        remove(tmp_path / "inner")
    assert list(tmp_path.iterdir()) == []


def test_too_many_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As results, and while they are written."""
    monkeypatch.setattr(leftovers, "MOST_RESULTS", 3)
    monkeypatch.setattr(leftovers, "MOST_FILES", 4)
    for number in range(4):
        (tmp_path / str(number)).write_text("xx")

    check_written(tmp_path, before=Weight(), limit_bytes=8)
    with pytest.raises(Unfit, match="wrote more"):
        check_written(tmp_path, before=Weight(), limit_bytes=7)
    with pytest.raises(Unfit, match="more than 3 files"):
        check_results(tmp_path)
    check_written(tmp_path, before=Weight(files=4, size=2), limit_bytes=6)
    assert weigh(tmp_path) == Weight(files=4, size=8)
    (tmp_path / "more").mkdir()
    with pytest.raises(Unfit, match="more than 4 files"):
        check_written(tmp_path, before=Weight(), limit_bytes=2**40)


@pytest.mark.parametrize("levels", [leftovers.DEEPEST + 1, DEEP])
def test_what_lies_too_deep_to_be_counted_is_told(levels: int, tmp_path: Path):
    """The one who weighs is not made to run out of stack, nor led past what it cannot see."""
    nest(tmp_path, levels)

    with pytest.raises(Unfit, match="deep"):
        check_written(tmp_path, before=Weight(), limit_bytes=2**40)
    remove(tmp_path)  # pytest could not


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads what is forbidden")
def test_what_is_hidden_is_told(tmp_path: Path):
    """A folder that its owner may not read, which the worker is."""
    shut(tmp_path)

    with pytest.raises(Unfit, match="cannot be read"):
        check_written(tmp_path, before=Weight(), limit_bytes=2**40)


def test_everything_can_be_removed(tmp_path: Path):
    """Deep, shut, full of links and of names that are in the way; what a link leads to stays."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
    (theirs / "file").write_text("x")
    (mine / "link").symlink_to(theirs)
    (mine / ".removed-0" / ".removed-1").mkdir(parents=True)
    (mine / ".removed-0" / ".removed-1" / "file").write_text("x")
    nest(mine, DEEP)
    nest(mine / ".removed-0", DEEP)
    shut(mine)
    shut(mine / ".removed-0")
    mine.chmod(0o700)

    remove(mine)

    assert [path.name for path in tmp_path.iterdir()] == ["theirs"]
    assert (theirs / "file").exists()
    remove(mine)  # gone already
