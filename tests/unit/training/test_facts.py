"""What comes up the pipe of a trainer with custom code in it: facts with their types and bounds, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

from worker.training.facts import CheckpointWritten, EpochDone, Fact, Failed, LogLine, StepDone, from_line, to_line

CHECKPOINT = {"fact": "CheckpointWritten", "epoch": 1, "step": 1, "directory": "/x"}
FILE = {"path": "model.safetensors", "size": 1, "sha256": "ab"}


@pytest.mark.parametrize(
    "fact",
    [
        StepDone(epoch=1, step=2),
        EpochDone(epoch=1, step=2, at=1.5, train_seconds=0.5, samples_per_second=2.0, metrics={"train_loss": 0.5}, best={"epoch": 1}),
        CheckpointWritten(epoch=1, step=2, directory="/x", files=[FILE]),
        Failed(code="nan_loss", message="x", skip_batches=[[0, 1]]),
    ],
)
def test_a_fact_arrives_as_it_was_told(fact: Fact):
    """By way of a line."""
    assert from_line(to_line(fact)) == fact


def test_the_words_of_a_users_error_arrive_whatever_they_are_made_of():
    """Half a surrogate pair is no text that a store takes."""
    assert from_line(to_line(LogLine(text="a\udc80ü\n"))) == LogLine(text="a?ü\n")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"\xff",
        b"[" * 10**6,
        b'{"fact":["StepDone"]}',
        b'{"fact":"JobSpec"}',
        b'{"fact":"StepDone","epoch":1}',
        b'{"fact":"StepDone","epoch":1,"step":' + b"9" * 5000 + b"}",
    ],
)
def test_what_is_no_fact_is_refused(line: bytes):
    """However deep, long or nameless."""
    with pytest.raises(ValueError, match="not a fact"):
        from_line(line)


@pytest.mark.parametrize(
    "body",
    [
        {"fact": "StepDone", "epoch": 1, "step": -1},
        {"fact": "StepDone", "epoch": 1, "step": 2**60},
        {"fact": "StepDone", "epoch": 1, "step": "1/../../x"},
        {"fact": "PhaseStarted", "phase": "\x1b[2J"},
        {"fact": "Evaluated", "metrics": {"a": {"b": 1}}},
        {"fact": "Evaluated", "metrics": {str(number): 0.0 for number in range(1000)}},
        *(
            {**CHECKPOINT, "files": [{**FILE, "path": path}]}
            for path in ("../x", "/etc/passwd", "a/b", "x\n", "", ".", "..", "é", "a" * 200)
        ),
        {**CHECKPOINT, "files": [{**FILE, "sha256": "no"}]},
        {**CHECKPOINT, "files": [FILE] * 1000},
    ],
)
def test_what_has_a_facts_name_but_not_its_shape_is_refused(body: dict[str, Any]):
    """Before it becomes a key in storage, a path or a record."""
    with pytest.raises(ValueError, match="not a fact"):
        from_line(json.dumps(body).encode())
