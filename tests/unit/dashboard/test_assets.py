"""What browsers are sent besides pages."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest

from service.dashboard import assets

VENDOR = assets.HERE / "vendor"
VENDORED = json.loads((VENDOR / "vendored.json").read_text())
OURS = [path for path in (assets.HERE / "static").iterdir() if path.suffix in (".js", ".css")]
LICENCES = {"0BSD", "MIT", "Apache-2.0", "BSD-3-Clause"}


def test_what_is_vendored_is_what_was_published_with_its_licence() -> None:
    """Each file has the checksum that it had when it was taken; none is there that nobody wrote down."""
    found = {
        folder.name: {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
        for folder in VENDOR.iterdir()
        if folder.is_dir()
    }

    assert found == {name: told["files"] for name, told in VENDORED.items()}
    assert all("LICENSE" in told["files"] and told["licence"] in LICENCES for told in VENDORED.values())


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.name)
def test_our_scripts_and_styles_name_no_other_host(path: Path) -> None:
    """SVG's namespace is a name, not an address."""
    assert set(re.findall(r"https?://[^\s\"')]+", path.read_text())) <= {"http://www.w3.org/2000/svg"}


def test_an_address_changes_with_what_is_served() -> None:
    assert assets.address("app.css") == f"/assets/{assets.bundle()}/app.css"
    with pytest.raises(KeyError):
        assets.address("nothing.css")


def test_templates_hold_no_script_and_no_style_of_their_own() -> None:
    """The policy would stop them, quietly."""
    for path in (assets.HERE / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son[a-z]+=|javascript:", text), path.name
