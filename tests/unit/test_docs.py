"""The README says what is so: its code parses, its specs are accepted, its commands, verbs, files and variables exist."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path

import pytest
import typer.main

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
COMMANDS = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # typer's group of commands
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
    further = re.search(r"Further:\s`([a-z ]+)`", README)
    assert further is not None
    assert used

    assert (used | set(further[1].split())) - COMMANDS == set()


def test_every_command_is_named() -> None:
    """No command is a secret: the README names each one."""
    assert {name for name in COMMANDS if not re.search(rf"\b{name}\b", README)} == set()


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
    read = {"TRAINYARD_URL", "TRAINYARD_API_KEY_FILE"}  # the command's own, and a secret's file
    for settings in (ApiSettings, WorkerSettings):
        for field in settings.model_fields.values():
            read |= {str(choice) for choice in getattr(field.validation_alias, "choices", [])}

    assert named
    assert named - read == set()


def test_the_readmes_table_of_benchmarks_is_the_one_that_was_measured():
    """`make bench` writes both; a figure that was changed by hand shows."""
    results, machine = read(ROOT / "docs" / "benchmarks.json")

    assert with_table(README, table(results, machine)) == README
