"""What comes from others: every package by its hashes, every vendored file by its checksum and licence. `make check` runs this."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from service.dashboard import assets

ROOT = Path(__file__).parent.parent.parent
LOCKS = sorted(ROOT.glob("requirements*.lock"))
HASHED = [path for path in LOCKS if path.name != "requirements-torch.lock"]
VENDOR = assets.HERE / "vendor"
VENDORED = json.loads((VENDOR / "vendored.json").read_text())
LICENCES = {"0BSD", "MIT", "Apache-2.0", "BSD-3-Clause"}


def requirements(path: Path) -> list[str]:
    """The logical lines, without comments."""
    text = path.read_text().replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("path", HASHED, ids=lambda path: path.name)
def test_every_package_is_pinned_and_has_hashes(path: Path) -> None:
    lines = requirements(path)

    assert len(lines) > 2
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._!+-]+(\s+--hash=sha256:[0-9a-f]{64})+", line)] == []


def test_only_torch_has_none() -> None:
    (line,) = requirements(ROOT / "requirements-torch.lock")

    assert re.fullmatch(r"torch==[0-9.]+", line)


def test_no_file_says_where_packages_come_from() -> None:
    """Whoever installs has an index, and it is not ours to choose."""
    files = [*LOCKS, ROOT / "Makefile", ROOT / "pyproject.toml", *ROOT.glob("Dockerfile.*"), ROOT / "docker-compose.yml"]

    named = [
        f"{path.name}: {line}"
        for path in files
        for line in path.read_text().splitlines()
        if re.search(r"(simple|whl|pypi)[./][a-z/]*", line)
    ]

    assert named == []


def test_what_is_vendored_is_what_was_published_with_its_licence() -> None:
    """Each file has the checksum that it had when it was taken; none is there that nobody wrote down."""
    found = {
        folder.name: {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in VENDOR.iterdir()
        if folder.is_dir()
    }

    assert found == {name: told["files"] for name, told in VENDORED.items()}
    assert all("LICENSE" in told["files"] and told["licence"] in LICENCES for told in VENDORED.values())
