"""A child that answers what nobody asked costs its parent no memory, and one that listens no more holds nobody up."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from service.adapters import answers, bubblewrap, predicting_child
from service.adapters.answers import Answers
from service.adapters.predicting_child import PredictingChildren
from service.jobs.errors import Unpredictable
from service.jobs.ports import Question

PATIENCE = 30


@contextmanager
def child(program: str) -> Iterator[subprocess.Popen[bytes]]:
    """A Python that runs this, for as long as the block lasts."""
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        yield process
        process.kill()


def test_lines_come_in_their_order_and_then_nothing():
    """Also those that were written before anybody asked."""
    with child("print(1); print(2)") as process:
        found = Answers(process)

        assert [found.next(PATIENCE) for _ in range(4)] == [b"1\n", b"2\n", b"", b""]


def test_who_says_nothing_is_waited_for_so_long():
    """And can still be heard later."""
    with child("import sys; print(sys.stdin.readline(), end='', flush=True); sys.stdin.read()") as process:
        found = Answers(process)
        assert process.stdin is not None
        with pytest.raises(TimeoutError, match=r"longer than 0.2 s"):
            found.next(0.2)
        process.stdin.write(b"x\n")
        process.stdin.flush()

        assert found.next(PATIENCE) == b"x\n"


@pytest.mark.parametrize("program", ["while True: print('x' * 1000)", "import sys\nwhile True: sys.stdout.write('x' * 1000)"])
def test_who_says_too_much_is_ended(program: str, monkeypatch: pytest.MonkeyPatch):
    """In many lines, or in one that never ends."""
    monkeypatch.setattr(answers, "LONGEST", 2**20)
    with child(program) as process:
        found = Answers(process)
        process.wait(PATIENCE)

        kept = 0
        while line := found.next(PATIENCE):
            kept += len(line)
        assert kept == 0


def test_a_model_that_reads_no_question_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A question longer than a pipe would be written for ever, and every other would wait behind it."""
    monkeypatch.setattr(predicting_child, "ANSWER_SECONDS", 1)
    children = PredictingChildren(tmp_path, trusts_code=True)
    with child("import time; print('{}', flush=True); time.sleep(3600)") as process:
        children._start = lambda *_, **__: predicting_child._Started(process, Answers(process))  # type: ignore[method-assign]

        with pytest.raises(Unpredictable, match="too long"):
            children.predict("job", lambda: iter(()), Question(kind="inputs", data=["x" * 2**20]), is_custom=True)
        children.close()


@pytest.mark.parametrize("reason", [None, "no namespaces here"])
def test_what_reads_the_samples_that_people_send_knows_no_secret(reason: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It is contained where the machine can do that, and has nothing of the API's environment in any case."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden-from-samples")
    monkeypatch.setattr(bubblewrap, "unavailable", lambda: reason)
    children = PredictingChildren(tmp_path, trusts_code=False)
    started = children._starter.submit(children._start, tmp_path, is_custom=False).result()
    with started.process:
        environment = Path(f"/proc/{started.process.pid}/environ").read_bytes()
        ready = started.answers.next(90)
        bubblewrap.kill(started.process)
        assert started.answers.next(90) == b""
    children.close()

    assert ready == b'{"ready": true}\n'
    assert b"hidden-from-samples" not in environment
    assert ("bwrap" in started.process.args) is (reason is None)
