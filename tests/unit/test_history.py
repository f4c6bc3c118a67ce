"""The history checker itself: a good history passes, and for each invariant a history that breaks it is found out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.e2e.faults.history import Moment, Seen, violations


def step(state: str, *, token: int = 0, phase: str = "", id: str = "a") -> Moment:
    return {"id": id, "at": "1", "state": state, "phase": phase, "reason": "", "token": str(token)}


def commit(token: int, at: int, *, by: int | None = None) -> Moment:
    return {"id": "a", "at": "1", "kind": "checkpoint", "token": str(token), "step": str(at), **({} if by is None else {"by": str(by)})}


LOST = (step("queued"), step("running", token=7, phase="preparing"), step("running", token=7, phase="training"), commit(7, 4))
AGAIN = (step("queued", token=7), step("running", token=9, phase="preparing"), commit(9, 4, by=9), commit(9, 8, by=9))
GOOD = Seen(accepted=["a"], history=[*LOST, *AGAIN, step("succeeded", token=9)], records={"a": {"state": "succeeded"}})


def with_history(*moments: Moment, state: str = "succeeded") -> Seen:
    """The good run with another history; the record agrees with it where `state` is its last."""
    return replace(GOOD, history=moments, records={"a": {"state": state}})


def test_a_job_that_was_lost_and_run_again_is_well():
    """Two attempts, growing tokens, checkpoints that move forward, one end."""
    assert violations(GOOD) == []


def test_other_kinds_of_moments_are_let_be():
    """Flags and deletions, also after the end, are no steps."""
    flag = {"id": "a", "at": "1", "kind": "flag", "flag": "cancel", "value": "1"}
    deleted = {"id": "a", "at": "1", "kind": "deleted"}

    assert violations(with_history(*GOOD.history[:3], flag, *GOOD.history[3:], deleted)) == []


WAITS = step("queued")
RUNS = step("running", token=7)
ENDS = step("succeeded", token=7)
BROKEN = {
    "an accepted job that is gone": (replace(GOOD, records={}), "gone"),
    "a job that never ends": (replace(with_history(WAITS, state="queued"), pending=frozenset("a")), "ended 0 times"),
    "a job that ends twice": (with_history(WAITS, RUNS, ENDS, ENDS), "ended 2 times"),
    "an end that changes": (with_history(WAITS, RUNS, ENDS, step("queued", token=7), state="queued"), "after it had ended"),
    "a phase after the end": (with_history(WAITS, RUNS, ENDS, step("running", token=7), state="running"), "after it had ended"),
    "a move that is in no table": (with_history(WAITS, step("succeeded")), "moved from queued to succeeded"),
    "a record that says otherwise": (with_history(WAITS, RUNS, ENDS, state="failed"), "the record says failed"),
    "a token that does not grow": (
        with_history(WAITS, RUNS, WAITS, step("running", token=5), step("failed", token=5), state="failed"),
        "token 5",
    ),
    "a token that comes again": (
        with_history(WAITS, RUNS, step("queued", token=7), step("running", token=9), WAITS, RUNS, ENDS),
        "token 7",
    ),
    "two attempts at once": (with_history(WAITS, RUNS, step("running", token=9), step("succeeded", token=9)), "began while 7 held"),
    "a phase of an old attempt": (with_history(WAITS, RUNS, step("running", token=9), RUNS, ENDS), "attempt 7 wrote"),
    "an end by an old attempt": (with_history(WAITS, step("running", token=9), ENDS), "attempt 7 ended the job while 9"),
    "a commit by an old attempt": (
        with_history(WAITS, RUNS, WAITS, step("running", token=9), commit(7, 4), step("failed", token=9), state="failed"),
        "attempt 7 moved",
    ),
    "a commit by nobody": (with_history(WAITS, RUNS, step("queued", token=7), commit(7, 4), RUNS, ENDS), "while nobody held"),
    "a checkpoint that moves back": (with_history(WAITS, RUNS, commit(7, 8), commit(7, 4), ENDS), "moved from (7, 8) to (7, 4)"),
    "an ended job that still waits": (replace(GOOD, pending=frozenset("a")), "in pending"),
    "an ended job with a lease": (replace(GOOD, leases=frozenset("a")), "in leases"),
    "an ended job among the running": (replace(GOOD, running=frozenset("a")), "in running"),
    "a running job without a lease": (replace(with_history(WAITS, RUNS, state="running"), running=frozenset("a")), "not in leases"),
    "a result that does not verify": (replace(GOOD, damaged={"a": "model.safetensors is damaged"}), "model.safetensors is damaged"),
    "a job that nobody was told of": (replace(GOOD, history=[*GOOD.history, step("queued", id="b")]), "b: nobody was told"),
}


@pytest.mark.parametrize(("seen", "said"), BROKEN.values(), ids=BROKEN)
def test_what_must_not_be_is_found(seen: Seen, said: str):
    """Each broken history is reported, in words that name what is wrong."""
    assert any(said in fault for fault in violations(seen)), violations(seen)
