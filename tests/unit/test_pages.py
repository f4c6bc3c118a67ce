"""The pages of docs/ say what is so: links lead somewhere, code parses, commands, verbs and tests exist, and what does not run is few and known.

tests/docs/test_pages_run.py runs what can run.
"""

from __future__ import annotations

import ast
import re
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main

from service.client.cli import app
from service.reference.markdown import anchor
from tests.pages import OUTPUT, ROOT, Block, blocks, pages

PAGES = pages()
BLOCKS = [block for page, text in PAGES.items() for block in blocks(page, text)]
COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # typer's group of commands
NOT_RUN = {
    "README.md": 1,  # a container engine
    "docs/howto/backup.md": 2,  # a data folder of one's own; everything lost
    "docs/gpu.md": 1,  # a GPU
    "docs/howto/gpu.md": 3,  # a GPU
    "docs/howto/more-machines.md": 6,  # addresses of one's own; other hosts; a file of Redis; a storage that users reach
    "docs/howto/monitor.md": 1,  # a monitor's own settings
    "docs/howto/teams.md": 2,  # it would lock, and limit, the others' service
    "docs/howto/upgrade.md": 1,  # a container engine
}
"""Blocks that no test runs, each with its reason before it."""
TEST = r"`(tests/[\w/]+\.py)::(\w+)`"


def test_few_blocks_are_not_run_and_all_of_them_say_why():
    said = [block for block in BLOCKS if block.not_run]

    assert {page: sum(block.page == page for block in said) for page in {block.page for block in said}} == NOT_RUN
    assert len(BLOCKS) > 10 * len(said)


def test_every_block_is_of_a_kind_that_somebody_runs():
    assert {block.language for block in BLOCKS} <= {"sh", "python", "yaml", *OUTPUT}


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "python"], ids=str)
def test_python_parses(block: Block):
    ast.parse(block.text)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.language == "sh"], ids=str)
def test_shell_parses(block: Block):
    """Those that are not run, too."""
    checked = subprocess.run(["bash", "-n"], input=block.text, text=True, capture_output=True, check=False)

    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str):
    """To a file, and to a heading or a section that unfolds in it."""
    dead = [link for link in _links(PAGES[page]) if not _leads(page, link)]

    assert dead == []


def _links(text: str) -> Iterator[str]:
    text = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.MULTILINE | re.DOTALL)
    return (link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link)


def _leads(page: str, link: str) -> bool:
    path, _, place = link.partition("#")
    target = (ROOT / page).parent / path if path else ROOT / page
    if not target.exists() or not target.resolve().is_relative_to(ROOT.resolve()):
        return False
    return not place or place in _places(target)


def _places(target: Path) -> set[str]:
    text = target.read_text()
    headings = re.findall(r"^#+ (.+)$", text, flags=re.MULTILINE)
    return {anchor(heading) for heading in headings} | set(re.findall(r'<details id="([^"]+)"', text))


def test_every_page_is_found_from_the_index():
    index = PAGES["docs/README.md"]
    listed = {(Path("docs") / link.partition("#")[0]).as_posix() for link in _links(index)}

    assert set(PAGES) - listed - {"docs/README.md", "README.md"} == set()
    assert "docs/README.md" in {link.partition("#")[0] for link in _links(PAGES["README.md"])}


def test_commands_and_verbs_exist():
    """Every `trainyard COMMAND` and `make VERB`, in blocks and in lines."""
    verbs = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for page, text in PAGES.items():
        code = "\n".join([*(block.text for block in blocks(page, text) if block.language == "sh"), *re.findall(r"`([^`\n]+)`", text)])
        used = set(re.findall(r"(?<![\w/.-])trainyard ([a-z]+)", code))

        assert used - COMMANDS == set(), page
        assert set(re.findall(r"\bmake ([a-z][a-z-]+)\b(?! sure)", code)) - verbs == set(), page


def test_every_promise_names_tests_that_exist():
    named = re.findall(TEST, PAGES["docs/promises.md"])

    assert len(named) > 15
    assert [f"{path}::{name}" for path, name in named if not re.search(rf"^def {name}\(", _text(path), re.MULTILINE)] == []


def _text(path: str) -> str:
    return (ROOT / path).read_text() if (ROOT / path).exists() else ""


def test_the_diagram_is_a_picture_that_says_itself():
    """Well-formed, with a title and a description for who cannot see it, and nothing from elsewhere."""
    text = (ROOT / "docs" / "images" / "how-it-works.svg").read_text()
    root = ET.fromstring(text)  # noqa: S314  # a file of ours

    assert [child.tag.rpartition("}")[2] for child in root][:2] == ["title", "desc"]
    assert "prefers-color-scheme: dark" in text
    assert re.findall(r'(?:href|src)="', text) == []


def test_no_page_sends_anybody_to_an_index_of_packages():
    """Which index pip asks is its user's affair."""
    hosts = re.compile(r"\b(?:pypi\.\w+|pythonhosted\.org|anaconda\.org|npmjs\.\w+|crates\.io|download\.pytorch\.org)\b", re.IGNORECASE)

    assert {page: found for page, text in PAGES.items() if (found := hosts.findall(text))} == {}
