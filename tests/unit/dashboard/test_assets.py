"""What browsers are sent besides pages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from service.dashboard import assets

OURS = [path for path in (assets.HERE / "static").iterdir() if path.suffix in (".js", ".css")]


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
