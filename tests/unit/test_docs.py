"""The README says what is so: its code parses, its specs are accepted, its commands, verbs, files and variables exist."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from service.client import cli
from service.client.cli import app
from service.settings import ApiSettings
from service.spec.job import read_parts, read_spec
from service.spec.rules import NOT_LOOKED_UP
from service.spec.text import parse_body
from tests.bench.__main__ import read, table, with_table
from worker.settings import WorkerSettings

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
SHELL = [text for language, text in BLOCKS if language == "sh"]
PYTHON = [text for language, text in BLOCKS if language == "python"]
EXAMPLES = sorted((ROOT / "service" / "spec" / "examples").glob("*.yaml"))
TOP: Any = typer.main.get_command(app)
MAKEFILE = (ROOT / "Makefile").read_text()


def test_there_is_something_to_look_at() -> None:
    """The README has shell and Python blocks, and there are examples."""
    assert len(SHELL) >= 3
    assert len(PYTHON) >= 2
    assert EXAMPLES


@pytest.mark.parametrize("block", PYTHON)
def test_python_parses(block: str) -> None:
    """Python in the README is Python."""
    ast.parse(block)


@pytest.mark.parametrize("block", SHELL)
def test_shell_parses(block: str) -> None:
    """Shell in the README is shell."""
    checked = subprocess.run(["bash", "-n"], input=block, text=True, capture_output=True, check=False)

    assert checked.returncode == 0, checked.stderr


def test_the_posted_job_is_accepted() -> None:
    """The job that the first screen POSTs is the textbook's, and a spec as it stands."""
    body = re.search(r"application/json' -d '(.*?)'", README, flags=re.DOTALL)
    assert body is not None

    spec = read_spec(json.loads(body[1]))

    assert [layer.type for layer in spec.model.layers] == ["Flatten", "Linear", "ReLU", "Linear"]
    assert (spec.dataset.type, spec.dataloader.batch_size, spec.epochs) == ("MNIST", 64, 5)
    assert spec.optimizer.arguments()["lr"] == 0.01


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_specs(example: Path) -> None:
    """Every example is read without a fault, but that nobody looked up what is in data of one's own."""
    spec, faults = read_parts(parse_body(example.read_bytes(), "application/yaml"))

    assert spec is not None
    assert [fault.code for fault in faults] == ([] if spec.dataset.is_known else [NOT_LOOKED_UP])


def test_files_and_links_exist() -> None:
    """Every relative link, and every example spec that is named, is a file here."""
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    named = re.findall(r"service/spec/examples/[\w.-]+\.yaml", README)

    assert named
    assert [path for path in links + named if not (ROOT / path).exists()] == []


def test_commands_exist() -> None:
    """Every `trainyard COMMAND` of the README is a command."""
    used = set(re.findall(r"(?<![\w/.-])trainyard ([a-z]+)", "\n".join(SHELL) + "\n".join(re.findall(r"`([^`\n]+)`", README))))

    assert used
    assert used - set(TOP.commands) == set()


def test_every_command_is_named() -> None:
    """No command is a secret, and none is made up: the table of commands has each one."""
    section = README.partition("## The command and the SDK")[2].partition("\n## ")[0]
    rows = [row.split("|")[2] for row in section.splitlines() if row.startswith("| ") and "`" in row]

    named = {name for row in rows for name in re.findall(r"`([a-z][a-z ]*)`", row)}

    assert named == set(commands_of(TOP))


def commands_of(group: Any, before: str = "") -> Iterator[str]:
    """The words of each command."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands_of(command, f"{before}{name} ")
        else:
            yield f"{before}{name}"


def test_exit_codes_are_the_same_everywhere() -> None:
    """The README's list is the command's own."""
    told = re.search(r"Exit codes: ([^.]+)\.", " ".join((cli.__doc__ or "").split()))
    assert told is not None

    assert f"Exit codes: {told[1]}." in " ".join(README.split())


def test_make_help_lists_every_verb() -> None:
    """`make help` shows each verb with a line of help, and the README's verbs are among them."""
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert phony is not None

    helped = subprocess.run(["make", "-s", "help"], cwd=ROOT, text=True, capture_output=True, check=True).stdout

    listed = {line.split()[0] for line in helped.splitlines() if len(line.split()) > 1}
    assert listed == set(phony[1].split())
    assert set(re.findall(r"\bmake ([a-z][a-z-]+)", "\n".join(SHELL) + "\n".join(re.findall(r"`([^`\n]+)`", README)))) <= listed


def test_variables_exist() -> None:
    """Every variable in the table of settings is read by some process."""
    table = README.partition("## Settings")[2].partition("\n## ")[0]
    named = {name for row in table.splitlines() if row.startswith("| `") for name in re.findall(r"`([A-Z][A-Z0-9_]+)`", row.split("|")[1])}
    read = {
        "TRAINYARD_URL",
        "TRAINYARD_PROJECT",
        "TRAINYARD_API_KEY_FILE",
        "TRAINYARD_METRICS_TOKEN_FILE",
    }  # the command's own, and secrets' files
    for settings in (ApiSettings, WorkerSettings):
        for field in settings.model_fields.values():
            read |= {str(choice) for choice in getattr(field.validation_alias, "choices", [])}

    assert named
    assert named - read == set()


def test_the_readmes_table_of_benchmarks_is_the_one_that_was_measured():
    """`make bench` writes both; a figure that was changed by hand shows."""
    results, machine = read(ROOT / "docs" / "benchmarks.json")

    assert with_table(README, table(results, machine)) == README
