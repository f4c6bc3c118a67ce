"""What a person sees of each command on a real terminal of 80 columns: help, a wrong option, a job that is not there."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import typer.main

from service.client.cli import app
from tests.terminal import COLUMNS, ROOT, in_a_row, in_terminal


def leaves(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


TOP: Any = typer.main.get_command(app)
COMMANDS = dict(leaves(TOP))
BARE = {("api",), ("worker",), ("rebuild",), ("gc",), ("backup",), ("restore",)}
"""They become another process, which speaks for itself."""
PROCESSES = BARE | {("up",), ("demo",)}


STEERING = "\x1b]0;taken over\x07\x1b[2J\x9b31mcat\u202egod"
PRINTING = f"""
from service.client.cli.printing import err, out, paragraph, show_table, show_text
show_text({STEERING!r})
out.print({STEERING!r})
err.print({STEERING!r})
paragraph({STEERING!r})
show_table(["class"], [[{STEERING!r}]])
"""


@pytest.fixture(scope="module")
def helped(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, ...], tuple[int, list[str]]]:
    """The help of each."""
    runs = [[*path, "--help"] for path in COMMANDS] + [["--help"], ["spec", "--help"], ["datasets", "--help"]]
    return {tuple(asked[:-1]): (code, lines) for asked, code, lines in in_a_row(runs, folder=tmp_path_factory.mktemp("help"))}


@pytest.mark.parametrize("path", [*COMMANDS, (), ("spec",), ("datasets",)], ids=" ".join)
def test_help_fits_the_terminal(helped: dict[tuple[str, ...], tuple[int, list[str]]], path: tuple[str, ...]):
    """No line is longer than the terminal is wide, so none breaks in the middle of a word."""
    code, lines = helped[path]

    assert code == 0
    assert f"Usage: trainyard {' '.join(path)}".strip() in "\n".join(lines)
    assert [line for line in lines if len(line) > COLUMNS] == []
    assert "<bool>" not in "\n".join(lines)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_has_examples_that_parse(helped: dict[tuple[str, ...], tuple[int, list[str]]], path: tuple[str, ...]):
    """Each command shows how it is used, with options that it has."""
    examples = COMMANDS[path].epilog.splitlines()
    assert any(
        f"trainyard {' '.join(path)}" in example or (example.startswith("trainyard --") and path[-1] in example) for example in examples
    )

    for example in examples:
        assert f"   {example}" in helped[path][1]
        for part in re.split(r"\||&&", example.partition(" > ")[0]):
            words = shlex.split(part)
            if "trainyard" in words and "xargs" not in words:
                parsed(words[words.index("trainyard") + 1 :])


def parsed(words: list[str]) -> None:
    """Raises where an option is not known, or an argument is missing."""
    context = TOP.make_context("trainyard", words, resilient_parsing=True)
    group, rest = TOP, [*context._protected_args, *context.args]
    while hasattr(group, "commands"):
        group, rest = group.commands[rest[0]], rest[1:]
    group.make_parser(context).parse_args(list(rest))


def test_what_is_typed_wrongly(tmp_path: Path):
    """An option that is not known: exit 2, a box that fits, no traceback, and the way to the help."""
    for asked, code, lines in in_a_row([[*path, "--nonsense"] for path in COMMANDS if path != ("worker",)], folder=tmp_path):
        assert code == 2, asked
        assert "No such option: --nonsense" in "\n".join(lines), asked
        assert [line for line in lines if len(line) > COLUMNS] == [], asked


def test_what_others_wrote_steers_no_terminal(tmp_path: Path):
    """Names, errors and what code printed are shown as letters; a file gets them as they are."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": str(COLUMNS)}
    with in_terminal([sys.executable, "-c", PRINTING], environment=environment, cwd=tmp_path) as terminal:
        assert terminal.ended() == 0
    command = [sys.executable, "-c", PRINTING.partition("out.print")[0]]
    written = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)

    assert terminal.seen.count(r"\x1b]0;taken over\x07\x1b[2J\x9b31mcat\u202egod") == 5
    assert not any(letter in terminal.raw.decode() for letter in ("\x1b]", "\x1b[2J", "\x07", "\x9b", "\u202e"))
    assert written.stdout == f"{STEERING}\n"


def test_no_color_means_none(tmp_path: Path):
    """With NO_COLOR nothing is coloured, and off a terminal no escape code at all is written (no-color.org)."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "XDG_CONFIG_HOME": str(tmp_path)}
    with in_terminal([sys.executable, "-m", "service.client.cli", "--help"], environment=environment, cwd=tmp_path) as coloured:
        assert coloured.ended() == 0
    command = ["env", "NO_COLOR=1", sys.executable, "-m", "service.client.cli", "--help"]
    with in_terminal(command, environment=environment, cwd=tmp_path) as plain:
        assert plain.ended() == 0
    piped = subprocess.run(command[2:], env=environment, cwd=tmp_path, capture_output=True, check=True)

    assert re.search(rb"\x1b\[[0-9;]*3[0-7]m", coloured.raw)
    assert not re.search(rb"\x1b\[[0-9;]*3[0-7]m", plain.raw)
    assert b"\x1b" not in piped.stdout + piped.stderr


class _Nothing(BaseHTTPRequestHandler):
    """A service where no job is."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = json.dumps(
            {
                "type": "/problems/not-found",
                "detail": "There is no job job_of_a_name_so_long_that_a_line_of_eighty_columns_cannot_hold_it_whole here.",
            }
        ).encode()
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.send_response(404)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET  # noqa: N815  # the names that http.server calls

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def nothing() -> Iterator[str]:
    """The address of a service where no job is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Nothing)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_job_that_is_not_there(tmp_path: Path, nothing: str):
    """Every command that takes a job exits 4 with one sentence, wrapped between words."""
    (tmp_path / "one.json").write_text("[[0]]")
    asking = [path for path, command in COMMANDS.items() if any(param.name in ("job_id", "job_ids", "ids") for param in command.params)]
    more = {("predict",): ["one.json"], ("evaluate",): ["data"], ("rm",): ["--yes"], ("compare",): ["job_2"], ("replay",): ["msg_1"]}

    runs = [[*path, "job_1", *more.get(path, [])] for path in asking]

    assert len(runs) > 15
    for asked, code, lines in in_a_row(runs, folder=tmp_path, TRAINYARD_URL=nothing):
        text = "\n".join(lines)
        assert code == 4, (asked, text)
        assert text.startswith("trainyard: There is no job"), asked
        assert [line for line in lines if len(line) > COLUMNS] == [], asked
        assert "Traceback" not in text


def test_every_command_that_prints_takes_json():
    """But for those that become another process, each has --json and -q."""
    for path, command in COMMANDS.items():
        options = {option for param in command.params for option in param.opts}
        assert path in PROCESSES - {("demo",)} or "--json" in options, path
        assert path in BARE | {("version",)} or "-q" in options, path
