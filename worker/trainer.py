"""The child process of one attempt: reads a job from its command pipe, writes facts to the other, files to its directory. Holds no credentials."""

from __future__ import annotations

import json
import os
import threading
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO, cast

import torch

from service.killpoints import KillPoint, passing
from service.spec.checking import is_custom
from service.spec.job import JobSpec
from worker.blame import scrubbed, trace
from worker.checkpoints import CheckpointWriter
from worker.exporting import export_each
from worker.failing import failure
from worker.manners import give_way
from worker.training.build import mixing_modules
from worker.training.cache import DecodedCache
from worker.training.checkpoint import hardware_changes, save_initial, snapshot
from worker.training.device import device_of, on_nondeterminism, show_gpus, take, warm_up
from worker.training.epochs import Numbered, leading_to, next_batch, steps_in_all
from worker.training.export import export
from worker.training.facts import (
    EpochDone,
    Evaluated,
    Evaluating,
    Fact,
    Failed,
    FirstStepDone,
    HardwareChanged,
    LogLine,
    PhaseStarted,
    StepDone,
    StepsLogged,
    Stopped,
    Succeeded,
    TrainingStarted,
    Warned,
    to_line,
)
from worker.training.history import History
from worker.training.judging import Judgement, judge
from worker.training.loop import NanLoss, Run, raise_for_nan, train
from worker.training.peak import PeakMemory
from worker.training.preparing import prepare
from worker.training.ranks import ALONE, Place, Ranks

REPORT_SECONDS = 0.5
"""Steps are told at most this often."""


def serve(commands: BinaryIO, facts: BinaryIO) -> None:
    """Run the one attempt that the first command describes, after any that say to warm up. Ends the process when the command pipe closes."""
    give_way()
    first = commands.readline()
    while first and (order := json.loads(first)).get("command") == "warm":
        show_gpus(order["gpus"])
        with suppress(AssertionError, RuntimeError):  # the job says what is missing here
            warm_up(torch.device(order["device"]))
        first = commands.readline()
    if not first:
        return
    stop = threading.Event()
    threading.Thread(target=_listen, args=(commands, stop), daemon=True, name="commands").start()
    lock = threading.Lock()
    job = json.loads(first)
    show_gpus(job.get("gpus"))
    follower = bool(job.get("place")) and job["place"]["rank"] > 0

    def tell(fact: Fact) -> None:
        if follower and not isinstance(fact, Failed | LogLine):
            return  # the leader tells the same
        with lock:
            facts.write(to_line(fact))
            facts.flush()

    try:
        _attempt(job, tell=tell, stopping=stop.is_set)
    except BrokenPipeError:
        os._exit(1)  # nobody listens any more
    except BaseException as error:  # the last line of a process: whatever it was becomes one fact
        if follower and isinstance(error, NanLoss):
            return  # the leader sees the same loss, and knows what may be left out
        traceback.print_exc()  # the worker's own log
        tell(LogLine(text=trace(error, job), level="error"))
        ended = failure(error, custom=is_custom(job["spec"]))
        tell(replace(ended, message=scrubbed(ended.message, job)))


def _listen(commands: BinaryIO, stop: threading.Event) -> None:
    for line in commands:
        if json.loads(line)["command"] == "stop":
            stop.set()
    os._exit(1)  # the supervisor is gone: whatever goes on here is worthless


def _attempt(job: dict[str, Any], *, tell: Callable[[Fact], None], stopping: Callable[[], bool]) -> None:
    spec, directory = JobSpec.model_validate(job["spec"]), Path(job["directory"])
    tell(PhaseStarted(phase="preparing"))
    ranks = _joined(job.get("place"), spec)
    on_nondeterminism(lambda operator: tell(_not_deterministic(operator)))
    initial = Path(job["initial"]) if job.get("initial") else None
    cache = DecodedCache(folder=Path(job["cache"]["folder"]), limit_bytes=job["cache"]["limit_bytes"])
    run = prepare(spec, datasets_dir=Path(job["datasets_dir"]), cache=cache, resume=job["resume"], initial=initial, tell=tell, ranks=ranks)
    if not ranks.leads:
        for _ in train(run):
            pass
        ranks.leave()
        return
    steps = steps_in_all(spec, len(run.splits.train))
    where = {"start_epoch": run.position.epoch, "start_step": run.position.step}
    inexact = list(job.get("inexact", []))
    if job["resume"] and (changed := hardware_changes(Path(job["resume"]["directory"]), run.device)):
        tell(
            HardwareChanged(
                detail=f"The checkpoint was written elsewhere, so the weights may differ in their last bits: {'; '.join(changed)}."
            )
        )
        inexact = [*dict.fromkeys([*inexact, "hardware_changed"])]
    if "out_of_memory" in inexact and (mixing := [*spec.dataset.mixing, *mixing_modules(run.model)]):
        detail = f"{', '.join(mixing)} works on a whole batch: with smaller batches it computes something else, not just rounded otherwise."
        tell(Warned(code="smaller_batches_differ", pointer="/dataloader/batch_size", detail=detail))
    tell(TrainingStarted(epochs=spec.epochs, steps=steps, dataset_digest=run.splits.digest, **where))
    tell(PhaseStarted(phase="training"))
    history = History(told=job.get("rows", ()))
    with CheckpointWriter(directory / "checkpoints", tell=tell) as checkpoints:
        if spec.epochs > 1 or spec.checkpoint.every_n_steps:
            checkpoints.start()
        if not _train(run, checkpoints, history, tell=tell, stopping=stopping, rollbacks=job.get("rollbacks", 0)):
            checkpoints.finish()
            tell(Stopped(epoch=run.position.epoch, step=run.position.step))
            return
    ranks.leave()
    tell(PhaseStarted(phase="evaluating"))
    if run.position.best_weights is not None:
        run.judged.load_state_dict(run.position.best_weights)
    artifacts = directory / "artifacts"
    (artifacts / "evaluation").mkdir(parents=True)
    judgement = _evaluated(judge(run, artifacts / "evaluation"), tell=tell)
    tell(Evaluated(metrics=judgement.test_scores()))
    tell(PhaseStarted(phase="exporting"))
    if initial is not None:
        save_initial(run.model, initial, artifacts / "initial.safetensors")
    exported = export_each(run, artifacts, tell=tell, stopping=stopping)
    export(run, judgement, artifacts, threads=torch.get_num_threads(), rows=history.rows(), inexact=inexact, exported=exported)
    tell(Succeeded(directory=str(artifacts)))


def _joined(place: dict[str, Any] | None, spec: JobSpec) -> Ranks:
    """The processes of the training. Raises NoDevice: a torch without CUDA could not even let them meet."""
    if place is None:
        return ALONE
    device = device_of(spec)
    take(device)
    return Ranks.join(Place(**place), cuda=device.type == "cuda")


def _not_deterministic(operator: str) -> Warned:
    detail = f"{operator} has no deterministic form on this device: the same job may end with other last bits."
    return Warned(code="not_deterministic", pointer="/training/deterministic", detail=detail)


def _train(
    run: Run,
    checkpoints: CheckpointWriter,
    history: History,
    *,
    tell: Callable[[Fact], None],
    stopping: Callable[[], bool],
    rollbacks: int,
) -> bool:
    """Train on; False where it was told to stop, with a checkpoint of the last step taken. Raises NanLoss with what may be left out next time."""
    since = _next_batch(run)

    def save() -> None:
        nonlocal since
        raise_for_nan(run, weights=True)  # a checkpoint of what is no number would help nobody
        checkpoints.save(snapshot(run))
        since = _next_batch(run)

    try:
        return _trained(run, save, history, tell=tell, stopping=stopping)
    except NanLoss as nan:
        _tell_steps(run, tell)
        if run.spec.training.nan_loss == "roll_back":
            # Chowdhery et al. 2022 (PaLM), section 5.1: go back, and skip the batches around the spike
            count = 2 ** (rollbacks + 1) * run.spec.training.gradient_accumulation_steps
            nan.left_out = leading_to(run.spec, len(run.splits.train), nan.at, since=since, count=count)
        raise


def _tell_steps(run: Run, tell: Callable[[Fact], None]) -> None:
    """The losses of steps since the last time."""
    if logged := run.tally.logged():
        steps, epochs, losses, lrs = map(list, zip(*logged, strict=True))
        tell(StepsLogged(steps=steps, epochs=epochs, losses=losses, lrs=lrs))


def _next_batch(run: Run) -> Numbered:
    return next_batch(run.spec, len(run.splits.train), run.position.epoch, run.position.batch)


def _trained(run: Run, save: Callable[[], None], history: History, *, tell: Callable[[Fact], None], stopping: Callable[[], bool]) -> bool:
    every = run.spec.checkpoint
    peak = PeakMemory(run)
    told, first = time.monotonic(), True
    for fact in train(run):
        if first and isinstance(fact, StepDone):
            first = False
            tell(FirstStepDone(step=fact.step, at=time.time()))
        if isinstance(fact, EpochDone):
            measured = replace(fact, metrics=fact.metrics | peak.metrics())
            history.add(measured)
            _tell_steps(run, tell)
            tell(measured)
            if fact.epoch % every.every_n_epochs == 0 and fact.epoch < run.spec.epochs:
                save()
        elif time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            raise_for_nan(run)
            _tell_steps(run, tell)
            tell(fact)
        if isinstance(fact, StepDone):
            passing(KillPoint.LATER_EPOCH_STEP if fact.epoch else KillPoint.FIRST_EPOCH_STEP)
        if isinstance(fact, StepDone) and every.every_n_steps and fact.step % every.every_n_steps == 0:
            save()
        if stopping():
            _tell_steps(run, tell)
            save()
            return False
    return True


def _evaluated(evaluation: Generator[Evaluating, None, Judgement], *, tell: Callable[[Fact], None]) -> Judgement:
    """The result of an evaluation, which is told of while it runs."""
    told = time.monotonic()
    while True:
        try:
            fact = next(evaluation)
        except StopIteration as end:
            return cast("Judgement", end.value)
        if time.monotonic() - told >= REPORT_SECONDS:
            told = time.monotonic()
            tell(fact)
