"""Every hostile or broken upload gets a flaw that names the place, and leaves nothing outside the folder that it is unpacked into."""

from __future__ import annotations

import builtins
from pathlib import Path

import pytest

from tests.unit.ingest.corpus import HOSTILE, many_entries
from worker.ingest.archives import Limits, unpack
from worker.ingest.flaws import BadData
from worker.ingest.inspecting import Inspected, inspect, unpacked


def looked_at(data: bytes, tmp_path: Path) -> Inspected:
    upload, folder = tmp_path / "upload", tmp_path / "in" / "it"
    upload.write_bytes(data)
    folder.mkdir(parents=True)
    try:
        return inspect(unpacked(upload, folder))
    except BadData as error:
        return Inspected(flaws=(error.flaw,))


@pytest.mark.parametrize("name", HOSTILE)
def test_it_is_refused_by_name_and_nothing_leaves_the_folder(name: str, tmp_path: Path):
    make, code, named = HOSTILE[name]

    found = looked_at(make(), tmp_path)

    assert found.content is None
    assert code in [flaw.code for flaw in found.flaws]
    flaw = next(flaw for flaw in found.flaws if flaw.code == code)
    assert named in f"{flaw.entry} {flaw.detail}"
    assert {path.name for path in tmp_path.iterdir()} == {"upload", "in"}
    assert {path.name for path in (tmp_path / "in").iterdir()} == {"it"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not hasattr(builtins, "trainyard_unpickled")


def test_entries_are_counted(tmp_path: Path):
    (tmp_path / "upload").write_bytes(many_entries())
    with pytest.raises(BadData, match="more than 2,000 entries"):
        unpack(tmp_path / "upload", tmp_path / "in", Limits(entries=2_000))
