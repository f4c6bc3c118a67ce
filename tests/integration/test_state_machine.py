"""The life of jobs under every order of events that Hypothesis can think of: Redis and its twin answer alike, and no invariant ever breaks."""

from __future__ import annotations

import copy
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from service.access.quota import Quota, QuotaExceeded, of_job
from service.jobs.errors import Fenced, IdempotencyConflict, IllegalTransition, StillNeeded
from service.jobs.job import CheckpointPointer, Device, Endpoint, Job
from service.jobs.layout import checkpoint_prefix
from service.jobs.ports import Claim, Idempotency, Outcome, Report
from service.jobs.state import JobState, Phase, Reason
from service.webhooks.delivery import Attempt, Verdict
from service.webhooks.ports import Limits
from tests.e2e.faults.history import Seen, violations
from tests.integration.conftest import Clock
from tests.integration.redis_keys import faults, look
from tests.integration.twins import Moment, Twins

LONG = os.environ.get("TRAINYARD_LONG_TESTS") == "1"
LEASE, SWEEP = 60, 20
LEFT_BYTES = 1500
"""Of an ended job in storage."""
RESTART_SECONDS = 0.1
"""Redis is away for at least so long when it comes up again without its newest writes."""
PROJECTS = ("mine", "theirs")
WORKERS: dict[str, Device] = {"w1": "cpu", "w2": "cpu", "w3": "gpu"}
OUTCOMES = (
    Outcome(kind="succeeded"),
    Outcome(kind="failed", reason=Reason.USER_CODE),
    Outcome(kind="cancelled"),
    Outcome(kind="give_back", reason=Reason.TRAINER_LOST),
    Outcome(kind="give_back", reason=Reason.DRAINED, counts=False),
)

TELLS = (Endpoint(url="https://hooks.example.com/x", events=("running", "paused", "succeeded", "failed", "cancelled")),)
EXPIRES = ("ty:claim:", "ty:idempotency:", "ty:worked:", "ty:gone:", "ty:sending:", "ty:unreachable:")
"""Keys that end by themselves."""
VERDICTS = (
    Verdict(kind="delivered"),
    Verdict(kind="again", after=SWEEP),
    Verdict(kind="failed", reason="enough"),
    Verdict(kind="failed", reason="gone", gone=True),
)


@dataclass
class Known:
    """What an onlooker remembers, and forgets when Redis does."""

    jobs: dict[str, Job] = field(default_factory=dict)
    """As last seen."""
    holders: dict[str, int] = field(default_factory=dict)
    """The token that holds each running job."""
    leases: dict[str, int] = field(default_factory=dict)
    swept: int = -(10**15)
    grace_until: int = 0


def of(what: Callable[[Life], Sequence[Any]]) -> st.SearchStrategy[Any]:
    """One of what the machine has now."""
    return st.runner().flatmap(lambda life: st.sampled_from(what(life)))


def some(what: Callable[[Life], Sequence[Any]]) -> Callable[..., Any]:
    """Only where there is one."""
    return precondition(lambda life: bool(what(life)))


class Life(RuleBasedStateMachine):
    """Jobs of two projects, three workers, sweepers, users, and a Redis that may forget its newest writes."""

    url: str

    @initialize(quota=st.sampled_from([Quota(), Quota(), Quota(running=2), Quota(queued=6, stored_bytes=5000, gpu_hours=0.01)]))
    def begin(self, quota: Quota) -> None:
        """Two empty stores on one clock."""
        self.clock, self.numbers, self.known, self.quota = Clock(), count(1), Known(), quota
        self.both = Twins(self.url, clock=self.clock, lease=LEASE, sweep=SWEEP, quota=quota)
        self.claims: list[Claim] = []
        self.minted: dict[str, int] = {}
        """The newest token of each job, also of those that Redis forgot."""
        self.reads: list[Job] = []
        self.disk: tuple[Moment, Known] | None = None
        for project in (*PROJECTS, *PROJECTS):
            self.submit(0.1, None, "b", project=project, device="cpu", priority=0, max_retries=1, notify=TELLS)
        self.sweep(times=4, then=["w1"])

    # --- what there is to choose from

    def ids(self) -> list[str]:
        return list(self.known.jobs)

    def ended(self) -> list[Job]:
        return [job for job in self.known.jobs.values() if job.state in (JobState.FAILED, JobState.CANCELLED)]

    def ids_to_delete(self) -> list[str]:
        """Mostly those that may go."""
        return [job.id for job in self.known.jobs.values() if job.is_terminal] + self.ids()[-1:]

    def held(self) -> list[Claim]:
        return [claim for claim in self.claims if self._holds(claim)]

    def fenced(self) -> list[Claim]:
        """Those whose job another one holds by now, if there are any."""
        late = [claim for claim in self.claims if not self._holds(claim)]
        return [claim for claim in late if claim.job.id in self.known.holders] or late

    def _holds(self, claim: Claim) -> bool:
        return self.known.holders.get(claim.job.id) == claim.token

    # --- users

    @rule(
        project=st.sampled_from(PROJECTS),
        device=st.sampled_from(["cpu", "cpu", "gpu"]),
        priority=st.sampled_from([0, 0, -100, 100]),
        max_retries=st.integers(0, 2),
        lr=st.sampled_from([0.1, 0.2]),
        key=st.sampled_from([None, None, "k1", "k2"]),
        body=st.sampled_from(["b", "c"]),
        notify=st.sampled_from([(), TELLS]),
    )
    def submit(self, lr: float, key: str | None, body: str, **fields: Any) -> None:
        """A new job, or the one that came first with this key."""
        spec = {"optimizer": {"type": "SGD", "lr": lr}}
        job = Job(id=f"job-{next(self.numbers):03}", created_at=self.clock.now(), spec=spec, resolved_spec={**spec, "seed": 0}, **fields)
        idempotency = Idempotency(key=key, body_sha256=body) if key else None
        try:
            answer = self.both(lambda stores: stores.jobs.submit(job, idempotency=idempotency))
        except IdempotencyConflict as conflict:
            self._there(conflict.job_id)
            return
        except QuotaExceeded as refused:
            self._full(job, refused)
            return
        assert answer.replayed == (answer.job.id != job.id)
        again = self.both(lambda stores: stores.jobs.submit(job, idempotency=idempotency))
        assert again.job == answer.job

    @some(ended)
    @rule(source=of(ended), cancelled=st.booleans())
    def retry(self, source: Job, cancelled: bool) -> None:
        """A new job that goes on from the checkpoint of an ended one; it may be cancelled before it has one of its own."""
        covered = source.checkpoint.step if source.checkpoint else -1
        told = self.both.redis.facts.metrics(source.project, source.id) or ()
        rows = [row for row in told if row["step"] <= covered]
        steps = [row for row in self.both.redis.facts.steps(source.project, source.id) or () if row[0] <= covered]
        kept = {name: getattr(source, name) for name in ("project", "max_retries", "priority", "device", "notify", "spec", "resolved_spec")}
        fresh = Job(id=f"job-{next(self.numbers):03}", created_at=self.clock.now(), retry_of=source.id, **kept)
        job = fresh.model_copy(update={"checkpoints": source.checkpoints, "token": source.token})
        try:
            answer = self.both(lambda stores: stores.jobs.submit(job, idempotency=None, rows=rows, steps=steps))
        except QuotaExceeded as refused:
            self._full(job, refused)
            return
        assert answer.replayed == (answer.job.id != job.id)
        self.minted.setdefault(answer.job.id, source.token)
        if cancelled and answer.job.state is not JobState.RUNNING:
            self.both(lambda stores: stores.requests.cancel(source.project, answer.job.id))

    def _full(self, job: Job, refused: QuotaExceeded) -> None:
        """Nobody is refused who has room."""
        usage = self.both(lambda stores: stores.accounts.usage(job.project))
        used = {"queued": usage.queued, "stored_bytes": usage.stored_bytes, "gpu_hours": usage.gpu_hours}[refused.quota]
        assert used >= getattr(self.quota.limits, refused.quota)
        assert refused.quota != "gpu_hours" or job.device == "gpu"

    @some(ids)
    @rule(job_id=of(ids), ask=st.sampled_from(["cancel", "pause", "resume"]))
    def ask(self, job_id: str, ask: str) -> None:
        """Each is refused only by an ended job; a lease that has died holds nobody up."""
        before = self.known.jobs[job_id]
        try:
            job = self.both(lambda stores: getattr(stores.requests, ask)(before.project, job_id))
        except IllegalTransition:
            assert before.is_terminal
            assert (ask, before.state) != ("cancel", JobState.CANCELLED)
            return
        if job.state is not JobState.RUNNING and self.known.holders.pop(job_id, None):
            assert self.known.leases.pop(job_id) < self.clock.ms

    @some(ids)
    @rule(job_id=of(ids_to_delete))
    def delete(self, job_id: str) -> None:
        """Only an ended job goes, and only once no other one needs it."""
        job = self.known.jobs[job_id]
        try:
            self.both(lambda stores: stores.requests.delete(job.project, job_id))
        except IllegalTransition:
            assert not job.is_terminal
        except StillNeeded as needed:
            self._there(needed.by, borrowed_from=job_id)
        else:
            del self.known.jobs[job_id]

    def _there(self, job_id: str, **facts: Any) -> None:
        """The job that a refusal names is there, and is as it must be."""
        assert {name: getattr(self.known.jobs[job_id], name) for name in facts} == facts

    # --- workers

    @rule(workers=st.lists(st.sampled_from(sorted(WORKERS)), min_size=1, max_size=3))
    def claim_some(self, workers: Sequence[str]) -> None:
        """One after the other."""
        for worker in workers:
            self.claim(worker)

    def claim(self, worker: str) -> None:
        """Nobody else holds the job, and no token ever comes twice, whatever Redis has forgotten."""
        claim = self.both(lambda stores: stores.attempts.claim(worker=worker, device=WORKERS[worker]))
        if claim is None:
            return
        assert claim.job.id not in self.known.holders
        assert claim.token > self.minted.get(claim.job.id, 0)
        self.minted[claim.job.id] = self.known.holders[claim.job.id] = claim.token
        self.known.leases[claim.job.id] = self.clock.ms + 1000 * LEASE
        for earlier in [each for each in self.claims if each.job.id == claim.job.id]:
            with pytest.raises(Fenced):
                self.both(lambda stores, earlier=earlier: stores.attempts.renew(earlier))
        self.claims.append(claim)

    @some(held)
    @rule(claim=of(held))
    def renew(self, claim: Claim) -> None:
        """The holder hears the flags."""
        flags = self.both(lambda stores: stores.attempts.renew(claim))
        job = self.known.jobs[claim.job.id]
        used, most = self.both(lambda stores: stores.accounts.usage(job.project)).gpu_hours, self.quota.gpu_hours
        spent = most is not None and job.device == "gpu" and used >= most
        assert (flags.cancel, flags.pause) == (job.cancel_requested, job.pause_requested or spent)
        self.known.leases[job.id] = self.clock.ms + 1000 * LEASE

    @some(held)
    @rule(
        claim=of(held), phase=st.sampled_from([None, *Phase]), epoch=st.integers(0, 3), step=st.integers(0, 3), seed=st.sampled_from([0, 1])
    )
    def report(self, claim: Claim, phase: Phase | None, epoch: int, step: int, seed: int) -> None:
        """Rows may be repeated, and come in any order."""
        self.both(lambda stores: stores.facts.report(claim, _report(claim, phase, epoch, step, seed)))
        self.both(lambda stores: stores.facts.steps(claim.job.project, claim.job.id, after=step - 1))

    @some(held)
    @rule(
        claim=of(held),
        places=st.lists(st.tuples(st.sampled_from([0, 0, -1]), st.integers(1, 6)), min_size=1, max_size=3),
        keep=st.integers(1, 3),
    )
    def checkpoint(self, claim: Claim, places: Sequence[tuple[int, int]], keep: int) -> None:
        """Newer ones, older ones, the same again, and ones that an earlier attempt had uploaded."""
        before = _place(self.both(lambda stores: stores.jobs.find(claim.job.project, claim.job.id)))
        for by, step in places:
            pointer = _pointer(claim, step, token=claim.token + by)
            self.both(lambda stores, pointer=pointer: tuple(stores.attempts.checkpoint(claim, pointer, keep=keep)))
            before = max(before, (pointer.token, pointer.step))
            assert _place(self.both(lambda stores: stores.jobs.find(claim.job.project, claim.job.id))) == before

    @some(held)
    @rule(claim=of(held), outcome=st.sampled_from(OUTCOMES), twice=st.booleans())
    def finish(self, claim: Claim, outcome: Outcome, twice: bool) -> None:
        """Said twice, it is answered twice."""
        wished = self.known.jobs[claim.job.id].cancel_requested
        state = self.both(lambda stores: stores.attempts.finish(claim, outcome))
        assert state != JobState.RUNNING
        assert (state == JobState.CANCELLED) == (wished or outcome.kind == "cancelled")
        del self.known.holders[claim.job.id], self.known.leases[claim.job.id]
        if twice:
            assert self.both(lambda stores: stores.attempts.finish(claim, outcome)) == state

    @rule(worker=st.sampled_from(sorted(WORKERS)), step=st.integers(1, 6), outcome=st.sampled_from(OUTCOMES[1:4]))
    def attempt(self, worker: str, step: int, outcome: Outcome) -> None:
        """A whole one, that got as far as a checkpoint: the way to retries."""
        before = len(self.claims)
        self.claim(worker)
        for claim in self.claims[before:]:
            self.checkpoint(claim, [(0, step)], keep=2)
            self.finish(claim, outcome, twice=False)

    @some(fenced)
    @rule(claim=of(fenced), outcome=st.sampled_from(OUTCOMES))
    def write_too_late(self, claim: Claim, outcome: Outcome) -> None:
        """Who holds the job no more changes nothing, and says so to the sweepers."""
        for write in (
            lambda stores: stores.attempts.renew(claim),
            lambda stores: stores.facts.report(claim, _report(claim, Phase.TRAINING, 9, 9, 9)),
            lambda stores: stores.attempts.checkpoint(claim, _pointer(claim, 9, token=claim.token), keep=1),
        ):
            with pytest.raises(Fenced):
                self.both(write)
        try:  # where this attempt itself has ended the job already, it hears how
            self.both(lambda stores: stores.attempts.finish(claim, outcome))
        except Fenced:
            self.both(lambda stores: stores.disposal.litter(claim.job.project, claim.job.id))

    # --- who is told

    @rule(verdicts=st.lists(st.sampled_from([None, *VERDICTS]), min_size=1, max_size=4))
    def tell(self, verdicts: Sequence[Verdict | None]) -> None:
        """Several at once; some senders die before they can say how it went."""
        for verdict in verdicts:
            taken = self.both(lambda stores: stores.outbox.take(lease_seconds=LEASE, limits=Limits(project=2, endpoint=2)))
            if taken is None:
                return
            assert taken.delivery.job_id in self.known.jobs
            if verdict is not None:
                status = {"delivered": 200, "again": None, "failed": 410 if verdict.gone else 500}[verdict.kind]
                attempt = Attempt(at=self.clock.now(), seconds=0, status=status)
                assert self.both(
                    lambda stores, taken=taken, attempt=attempt, verdict=verdict: stores.outbox.settle(taken, attempt, verdict)
                )
                assert not self.both(
                    lambda stores, taken=taken, attempt=attempt, verdict=verdict: stores.outbox.settle(taken, attempt, verdict)
                )

    @some(ids)
    @rule(job_id=of(ids), at=st.integers(0, 3))
    def replay(self, job_id: str, at: int) -> None:
        """What was told of a job is what it went through, as far as it is told; any of it can be told again."""
        job = self.known.jobs[job_id]
        told = self.both(lambda stores: list(stores.outbox.of(job.project, job_id)))
        assert {each.event for each in told} <= {step.state for step in job.transitions}
        if told[at:]:
            self.both(lambda stores: stores.outbox.replay(job.project, job_id, told[at].id))

    # --- uploads

    @rule(project=st.sampled_from(PROJECTS), owner=st.sampled_from(["datasets/a/1", "datasets/b/2"]), size=st.sampled_from([0, 1000, 3000]))
    def reserve(self, project: str, owner: str, size: int) -> None:
        """Bytes on their way are counted, or refused; in the end they come, or do not, or nobody says."""
        most, before = self.quota.stored_bytes, self.both(lambda stores: stores.accounts.room(project))
        refused = None
        try:
            self.both(lambda stores: stores.accounts.reserve(project, owner, size))
        except QuotaExceeded as error:
            refused = error
        assert (before is None) == (most is None)
        if refused is not None:
            assert refused.used + size > refused.limit == most
        elif most is not None and size:
            assert self.both(lambda stores: stores.accounts.usage(project)).stored_bytes <= most

    @rule(project=st.sampled_from(PROJECTS), owner=st.sampled_from(["datasets/a/1", "datasets/b/2"]), size=st.sampled_from([0, 0, 1000]))
    def charge(self, project: str, owner: str, size: int) -> None:
        """They have come, or gone."""
        self.both(lambda stores: stores.accounts.charge(project, owner, size))

    # --- time and sweepers

    @rule(seconds=st.sampled_from([0.001, 1, 5, SWEEP, LEASE + 1, 10 * LEASE]))
    def time_passes(self, seconds: float) -> None:
        """A little, past a lease, or so long that sweepers have slept."""
        self.clock.pass_by(seconds)

    @rule(
        gap=st.sampled_from([0, 0, LEASE + 1]), times=st.sampled_from([1, 4, 7]), then=st.lists(st.sampled_from(["w1", "w2"]), max_size=2)
    )
    def sweep(self, times: int, then: Sequence[str], gap: float = 0) -> None:
        """Nobody loses a job within its lease, nor within one lease after a gap in sweeping. Others take what was given back."""
        self.clock.pass_by(gap)
        for _ in range(times):
            if self.clock.ms - self.known.swept > 2000 * SWEEP:
                self.known.grace_until = self.clock.ms + 1000 * LEASE
            self.known.swept = self.clock.ms
            expired = self.both(lambda stores: sorted(stores.housekeeping.expire()))
            dead = [id for id, until in self.known.leases.items() if until < self.clock.ms]
            assert expired == (sorted(dead) if self.clock.ms >= self.known.grace_until else [])
            for job_id in expired:
                del self.known.holders[job_id], self.known.leases[job_id]
            self.clock.pass_by(SWEEP if times > 1 else 0)
        self.claim_some(then)

    @rule()
    def read_unsaved(self) -> None:
        """A sweeper reads the records that it is going to write."""
        self.reads = list(self.both(lambda stores: sorted(stores.housekeeping.unsaved(1000), key=lambda job: job.id)))

    @precondition(lambda self: bool(self.reads))
    @rule(some=st.data())
    def save(self, some: st.DataObject) -> None:
        """It has written one, that may be old or deleted by now."""
        job = self.reads.pop(some.draw(st.integers(0, len(self.reads) - 1)))
        self.both(lambda stores: stores.housekeeping.saved(job))

    @rule()
    def dispose(self) -> None:
        """All that is due is removed."""
        due = self.both(lambda stores: sorted(stores.disposal.deleted(1000)))
        assert not {job_id for _, job_id in due} & set(self.known.jobs)
        for place in due:
            self.both(lambda stores, place=place: stores.accounts.charge(place[0], of_job(place[1]), 0))
            self.both(lambda stores, place=place: stores.disposal.erased(*place))
        for place in self.both(lambda stores: sorted(stores.disposal.littered(1000))):
            if place[1] in self.known.jobs:
                self.both(lambda stores, place=place: stores.accounts.charge(place[0], of_job(place[1]), LEFT_BYTES))
            self.both(lambda stores, place=place: stores.disposal.collected(*place))

    # --- a Redis that forgets

    @rule()
    def reach_the_disk(self) -> None:
        """Up to here nothing is lost."""
        self.disk = self.both.moment(), copy.deepcopy(self.known)

    @precondition(lambda self: self.disk is not None)
    @rule()
    def lose_the_newest_writes(self) -> None:
        """Redis comes up again as its disk was; workers, sweepers and the clock know nothing of it."""
        moment, known = self.disk
        self.both.go_back(moment)
        self.known = copy.deepcopy(known)
        self.clock.pass_by(RESTART_SECONDS)

    # --- what always holds

    @invariant()
    def keys_agree(self) -> None:
        """Every index in Redis agrees with the records."""
        assert faults(look(self.both.client)) == []

    @invariant()
    def monitors_are_told_alike(self) -> None:
        """Queues, ages, ends by reason, lost leases, records to save."""
        self.both(lambda stores: replace(stores.monitor.standing(), used_bytes=None, most_bytes=None, workers=()))

    @invariant()
    def usage_is_told_alike(self) -> None:
        """Jobs, bytes, GPU time."""
        for project in PROJECTS:
            self.both(lambda stores, project=project: stores.accounts.usage(project))

    @invariant()
    def nothing_goes_back(self) -> None:
        """Both list the same jobs; an end is for ever; tokens, attempts and checkpoints only grow."""
        now = {job.id: job for project in PROJECTS for job in self._listed(project)}
        assert now.keys() >= self.known.jobs.keys()
        for job_id, before in self.known.jobs.items():
            job = now[job_id]
            assert job == before or not before.is_terminal
            assert (job.token, job.attempt, job.version) >= (before.token, before.attempt, before.version)
            assert _place(job) >= _place(before)
        assert {id for id, job in now.items() if job.state is JobState.RUNNING} == self.known.holders.keys()
        self.known.jobs = now

    def _listed(self, project: str) -> Sequence[Job]:
        return self.both(lambda stores: stores.jobs.list(project, limit=1000, cursor=None, states=(), labels={}, name=None)).jobs

    # --- the end

    def teardown(self) -> None:
        """Everything comes to its end, and nothing is left of what is deleted."""
        if not hasattr(self, "both"):
            return
        try:
            if sys.exception() is None:
                self._every_worker_dies()
                self._the_rest_is_done()
                self._all_is_deleted()
        finally:
            self.both.close()

    def _every_worker_dies(self) -> None:
        self._resume_all()
        self.sweep(times=3 + 2 * LEASE // SWEEP, then=[])
        self.nothing_goes_back()
        assert not self.known.holders

    def _resume_all(self) -> None:
        for job in self.known.jobs.values():
            if job.state is JobState.PAUSED:
                self.both(lambda stores, job=job: stores.requests.resume(job.project, job.id))

    def _the_rest_is_done(self) -> None:
        """Every job that waits is claimed and done; the history has nothing to blame."""
        self._resume_all()  # where the wish to pause outlived the worker
        self.clock.pass_by(31 * 86400)  # GPU hours are to be had again
        for worker in ("w1", "w3"):
            before = -1
            while len(self.claims) != before:
                before = len(self.claims)
                self.claim(worker)
                for claim in self.held():
                    self.finish(claim, OUTCOMES[0], twice=False)
        self.keys_agree()
        self.nothing_goes_back()
        assert all(job.is_terminal for job in self.known.jobs.values())
        history = [{name.decode(): value.decode() for name, value in entry.items()} for _, entry in self.both.client.xrange("ty:history")]
        records = {job_id: look(self.both.client).records[job_id] for job_id in self.known.jobs}
        kept = [moment for moment in history if moment["id"] in records]
        assert violations(Seen(accepted=list(records), history=kept, records=records)) == []

    def _all_is_deleted(self) -> None:
        for job_id in self.ids():
            self.delete(job_id)
        assert not self.known.jobs
        for _ in range(3):
            self.dispose()
            self.clock.pass_by(11 * LEASE)
        for project in PROJECTS:
            for owner in ("datasets/a/1", "datasets/b/2"):
                self.both(lambda stores, project=project, owner=owner: stores.accounts.charge(project, owner, 0))
            assert self.both(lambda stores, project=project: stores.accounts.usage(project)).stored_bytes == 0
        left = {name.decode() for name in self.both.client.keys("ty:*")}
        assert {name for name in left if not name.startswith((*EXPIRES, "ty:gpu_ms:"))} <= {
            "ty:stored",
            "ty:counts",
            "ty:history",
            "ty:successes",
            "ty:last_sweep",
            "ty:grace_until",
        }


def _report(claim: Claim, phase: Phase | None, epoch: int, step: int, seed: int) -> Report:
    return Report(
        phase=phase,
        row={"epoch": epoch, "step": step, "train_loss": 0.1 + 0.2},
        events=[{"type": "epoch", "message": f"epoch {epoch}", "data": {"step": step}}],
        steps=[[at, epoch + 1, 0.1 * at, 0.1 + 0.2] for at in range(step, step + 3)],
        metrics={"train_loss": 0.1 * step},
        logs=[f"line {step}"],
        resolved_spec={**claim.job.spec, "seed": seed} if seed else None,
    )


def _pointer(claim: Claim, step: int, *, token: int) -> CheckpointPointer:
    prefix = checkpoint_prefix(claim.job.project, claim.job.id, token, step)
    return CheckpointPointer(token=token, epoch=0, step=step, prefix=prefix, size=1000)


def _place(job: Job) -> tuple[int, int]:
    return (job.checkpoint.token, job.checkpoint.step) if job.checkpoint else (-1, -1)


def test_no_order_of_events_breaks_a_promise(valkey_url: str) -> None:
    """Submit, claim, report, die, pause, lose writes, delete, in any order: the stores agree, and every job comes to one end."""
    machine = type("Life", (Life,), {"url": valkey_url})

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=1000 if LONG else 40,
            stateful_step_count=50,
            deadline=None,
            database=None,
            print_blob=True,
            suppress_health_check=list(HealthCheck),
        ),
    )
