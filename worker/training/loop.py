"""The training loop: a generator of facts. It knows no path, no printer, no checkpoint format; whoever iterates saves, reports and stops."""

from __future__ import annotations

import math
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from service.spec.job import JobSpec
from worker.training.data import Batches, EpochOrder, grouped
from worker.training.epochs import Numbered, epoch_batches, from_place, last_batch, numbers, training_batches
from worker.training.evaluate import evaluate
from worker.training.facts import EpochDone, Evaluating, StepDone
from worker.training.plan import Forward, Plan
from worker.training.ranks import ALONE, Ranks
from worker.training.resident import Residents
from worker.training.splits import Splits
from worker.training.tally import Tally
from worker.training.textbook import targets_for


class NanLoss(Exception):
    """The training has come to what is no number. `at` is the (epoch, batch) where it showed, from 0; `left_out` may be left out the next time."""

    def __init__(self, what: str, *, step: int, at: Numbered) -> None:
        super().__init__(f"{what} at step {step} (batch {at[1] + 1} of epoch {at[0] + 1}).")
        self.at = at
        self.left_out: list[Numbered] = []


@dataclass
class Position:
    """Where training stands, besides weights and optimizer: everything a checkpoint needs to go on to the same bits.

    `loader_state` is the loader generator's state at the epoch's start; `batch` counts batches done in the running
    epoch; `trimmed` samples of the next one were done in a smaller one, of another size. `seconds` of it are behind,
    evaluation aside.
    """

    epoch: int = 0
    step: int = 0
    batch: int = 0
    trimmed: int = 0
    loader_state: torch.Tensor | None = None
    seconds: float = 0.0
    best: dict[str, Any] | None = None
    best_weights: dict[str, torch.Tensor] | None = None
    watched: float | None = None
    stale_epochs: int = 0


@dataclass(frozen=True, kw_only=True)
class Run:
    """Everything one training consists of."""

    spec: JobSpec
    model: nn.Module
    loss_fn: nn.Module
    optimizer: torch.optim.Optimizer
    scheduler: Any
    metrics: dict[str, Any]
    splits: Splits
    device: torch.device
    position: Position
    tally: Tally
    order: EpochOrder
    plan: Plan
    log_every: int
    """Of every so many-th step the loss is told."""
    forward: Forward
    """The model's forward pass, in the plan's arithmetic."""
    scaler: torch.amp.GradScaler
    average: AveragedModel | None = None
    """Of the weights, where the spec asks for one."""
    ranks: Ranks = ALONE
    """The processes that train together, seen from this one."""
    residents: Residents = field(default_factory=Residents)
    """The data that a GPU holds."""

    @property
    def judged(self) -> nn.Module:
        """The model that is evaluated and handed out."""
        return self.model if self.average is None else self.average.module

    @property
    def steps_schedule(self) -> Literal["step", "epoch"] | None:
        """When the learning rate moves."""
        if self.spec.lr_scheduler is None:
            return None
        return "step" if self.spec.lr_scheduler.arguments().get("interval") == "step" else "epoch"


def train(run: Run) -> Iterator[StepDone | Evaluating | EpochDone]:
    """Train to the last epoch or early stop.

    Yields StepDone after every optimizer step, Evaluating while validating, EpochDone after it: each a safe place to save `run.position`.
    Raises NanLoss at the end of an epoch with a loss that is not finite; `raise_for_nan` tells sooner.
    """
    while run.position.epoch < run.spec.epochs and not _stopped_early(run):
        yield from _steps(run)
        yield (yield from _end_epoch(run))


def raise_for_nan(run: Run, *, weights: bool = False) -> None:
    """Raise NanLoss where a loss of the running epoch is no number, or, if asked, a weight. Only after a step; waits for the device."""
    position, samples = run.position, len(run.splits.train)
    accumulate = run.spec.training.gradient_accumulation_steps
    if (wrong := run.tally.wrong()) is not None:
        place, loss = wrong
        step = position.step - -(-position.batch // accumulate) + place // accumulate + 1
        at = (position.epoch, numbers(run.spec, samples, position.epoch)[place])
        raise NanLoss(f"The training loss is {loss}", step=step, at=at)
    if weights and not all(bool(each.isfinite().all()) for each in run.model.parameters() if each.requires_grad):
        raise NanLoss("The weights are no numbers", step=position.step, at=last_batch(run.spec, samples, position.epoch, position.batch))


def _steps(run: Run) -> Iterator[StepDone]:
    started = time.perf_counter()
    spec, position, model, optimizer, scaler = run.spec, run.position, run.model, run.optimizer, run.scaler
    loss_fn = run.ranks.criterion(run.loss_fn)
    if position.batch == position.trimmed == 0:
        position.loader_state = run.order.generator.get_state()
    groups = epoch_batches(run.order.start(), spec, position.epoch)
    ahead = from_place(groups, position.batch, position.trimmed)
    batches = training_batches(
        run.splits.train, spec, ahead, epoch=position.epoch, device=run.device, ranks=run.ranks, residents=run.residents
    )
    first = position.batch = len(groups) - len(ahead)
    position.trimmed = 0
    run.tally.start(first)
    accumulate, each_step = spec.training.gradient_accumulation_steps, run.steps_schedule == "step"
    dataset, classes = spec.dataset, spec.dataset.facts.num_classes
    model.train()
    for inputs, labels in batches:
        targets = targets_for(dataset.target, inputs, labels, classes)
        # 1 the batch is here; 2 forward
        outputs = run.forward(inputs)
        # 3 loss
        loss = loss_fn(outputs, targets)
        # 4 backward; a last, smaller group of micro-batches steps with its own mean
        members = min(accumulate, len(groups) - first)
        scaler.scale(loss / members if members > 1 else loss).backward()
        run.tally.add(loss, outputs, labels)
        position.batch += 1
        if position.batch - first < members:
            continue
        _clip(run)
        # 5 update
        scaler.step(optimizer)
        scaler.update()
        # 6 reset the gradients
        optimizer.zero_grad(set_to_none=True)
        if run.average is not None:
            run.average.update_parameters(model)
        position.step += 1
        if position.step % run.log_every == 0:
            run.tally.mark(step=position.step, epoch=position.epoch + 1, batches=members, lr=optimizer.param_groups[0]["lr"])
        if each_step:
            run.scheduler.step()
        first = position.batch
        now = time.perf_counter()  # from step to step: what the reader of facts costs is time of the epoch
        position.seconds, started = position.seconds + now - started, now
        yield StepDone(epoch=position.epoch, step=position.step)
    run.tally.fold()  # a GPU may be many steps behind: the epoch is over when its last one is done
    position.seconds += time.perf_counter() - started
    run.order.end()


def _clip(run: Run) -> None:
    """Make the gradients that the optimizer is about to use no larger than the spec allows."""
    norm, value = run.spec.training.clip_grad_norm, run.spec.training.clip_grad_value
    if norm is None and value is None:
        return
    run.scaler.unscale_(run.optimizer)
    if norm is not None:
        torch.nn.utils.clip_grad_norm_(run.model.parameters(), norm)
    if value is not None:  # second: smaller numbers have no larger norm, so both limits hold
        torch.nn.utils.clip_grad_value_(run.model.parameters(), value)


def _end_epoch(run: Run) -> Generator[Evaluating, None, EpochDone]:
    position, spec = run.position, run.spec
    raise_for_nan(run)
    samples, seconds = run.tally.samples, max(position.seconds, 1e-9)
    metrics = run.tally.metrics()
    if len(run.splits.validation) and run.ranks.leads:
        held_out = grouped(torch.arange(len(run.splits.validation)), size=spec.dataloader.eval_batch_size)
        batches = Batches(run.splits.validation, spec, device=run.device, residents=run.residents).over(held_out)
        validated = yield from evaluate(run.judged, run.loss_fn, batches, spec=spec, metrics=run.metrics)
        metrics |= validated.scalars("val")
    metrics = run.ranks.agreed(lambda: metrics)  # schedules, early stopping and the best go by the same numbers everywhere
    run.ranks.fall_into_step(run.device)
    metrics["lr"] = float(run.optimizer.param_groups[0]["lr"])
    _step_schedule(run, metrics)
    position.epoch, position.batch = position.epoch + 1, 0
    _keep_best(run, metrics)
    _watch(run, metrics)
    done = EpochDone(
        epoch=position.epoch,
        step=position.step,
        at=time.time(),
        train_seconds=seconds,
        samples_per_second=samples / seconds,
        metrics=metrics,
        best=position.best,
    )
    run.tally.reset()
    position.seconds = 0.0
    return done


def _step_schedule(run: Run, metrics: dict[str, float]) -> None:
    scheduler = run.spec.lr_scheduler
    if scheduler is None or run.steps_schedule == "step":
        return
    if scheduler.type == "ReduceLROnPlateau":
        run.scheduler.step(metrics.get(scheduler.arguments()["monitor"], math.nan))
    else:
        run.scheduler.step()


def _keep_best(run: Run, metrics: dict[str, float]) -> None:
    """Best is the first strict improvement; a value that is no number is none."""
    monitor, mode = run.spec.checkpoint.monitor, run.spec.checkpoint.mode
    if monitor is None or monitor not in metrics:
        return
    value, best = metrics[monitor], run.position.best
    if best is None or (value > best["value"] if mode == "max" else value < best["value"]):
        run.position.best = {"monitor": monitor, "value": value, "epoch": run.position.epoch, "step": run.position.step}
        run.position.best_weights = {name: tensor.detach().clone() for name, tensor in run.judged.state_dict().items()}


def _watch(run: Run, metrics: dict[str, float]) -> None:
    """Count the epochs without improvement; a value that is no number is none."""
    rule, position = run.spec.training.early_stopping, run.position
    if rule is None:
        return
    value, sign = metrics.get(rule.monitor, math.nan), 1 if rule.mode == "max" else -1
    before = -sign * math.inf if position.watched is None else position.watched
    if sign * value > sign * before + rule.min_delta:
        position.watched, position.stale_epochs = value, 0
    else:
        position.stale_epochs += 1


def _stopped_early(run: Run) -> bool:
    rule = run.spec.training.early_stopping
    return rule is not None and run.position.stale_epochs >= rule.patience
