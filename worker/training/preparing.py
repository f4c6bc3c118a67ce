"""From a resolved spec to a training that stands before its first step, or behind the last one of a checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from service.spec.job import JobSpec
from service.spec.model import FromJob, frozen
from service.spec.monitors import beside_built_in
from service.spec.training import FUSED
from worker.training.build import build_loss, build_metrics, build_optimizer, build_scheduler, seeded_model
from worker.training.cache import DecodedCache
from worker.training.checkpoint import load_initial, plan_of, restore
from worker.training.curve import log_every
from worker.training.data import Batches, EpochOrder, grouped
from worker.training.deciding import Decision
from worker.training.device import device_of, take
from worker.training.facts import Fact, PlanChosen, Warned
from worker.training.loading import load_splits
from worker.training.loop import Position, Run
from worker.training.plan import Plan, why_not_compiled
from worker.training.probing import Probe
from worker.training.ranks import ALONE, Ranks
from worker.training.splits import Splits, labels_of
from worker.training.textbook import freeze, moving_average, sample_weights, targets_for

PROBED_BATCHES = 3
"""`precision: auto` is decided on so many, the first of the data."""


def prepare(
    spec: JobSpec,
    *,
    datasets_dir: Path,
    cache: DecodedCache | None = None,
    resume: dict[str, Any] | None = None,
    initial: Path | None = None,
    tell: Callable[[Fact], None] = lambda _: None,
    ranks: Ranks = ALONE,
) -> Run:
    """Everything up to the first step: threads, seed, model in written order, data, and a checkpoint's state where one is given. Raises NoDevice."""
    torch.set_num_threads(spec.resources.threads or 1)
    device = device_of(spec, ranks)
    take(device)
    splits = ranks.leader_first(lambda: load_splits(spec, datasets_dir=datasets_dir, cache=cache))
    model = seeded_model(spec)
    if initial is not None:
        load_initial(model, initial, whole=isinstance(spec.model, FromJob))
    freeze(model, frozen(spec.model))
    model, loss_fn = model.to(device), build_loss(spec.loss).to(device)
    spec, plan = _planned(spec, model, loss_fn, splits, device, resume=resume, tell=tell, ranks=ranks)
    plan.lay_out(model)
    optimizer = build_optimizer(spec.optimizer, model, **plan.options())
    run = Run(
        spec=spec,
        model=model,
        loss_fn=loss_fn,
        optimizer=optimizer,
        scheduler=None if spec.lr_scheduler is None else build_scheduler(spec.lr_scheduler, optimizer),
        metrics=asked_metrics(spec),
        splits=splits,
        device=device,
        position=Position(),
        tally=ranks.tally(
            decision=Decision.of(spec),
            loss_is_sum=getattr(loss_fn, "reduction", "mean") == "sum",
            accumulated=spec.training.gradient_accumulation_steps,
        ),
        order=EpochOrder(len(splits.train), seed=spec.seed, shuffle=spec.dataloader.shuffle, weights=_weights(spec, splits)),
        plan=plan,
        log_every=log_every(spec, len(splits.train)),
        forward=plan.forward(ranks.replica(model, device), device),
        scaler=plan.scaler(device),
        average=None if spec.training.ema_decay is None else moving_average(model, spec.training.ema_decay),
        ranks=ranks,
    )
    if resume is not None:
        restore(run, Path(resume["directory"]))
    return run


def _weights(spec: JobSpec, splits: Splits) -> torch.Tensor | None:
    """How often each training sample is drawn, beside the others, float64 [samples]; None where each is drawn once."""
    if spec.dataloader.sampler is None:
        return None
    return sample_weights(labels_of(splits.train), spec.dataloader.sampler.weights)


def _planned(
    spec: JobSpec,
    model: nn.Module,
    loss_fn: nn.Module,
    splits: Splits,
    device: torch.device,
    *,
    resume: dict[str, Any] | None,
    tell: Callable[[Fact], None],
    ranks: Ranks,
) -> tuple[JobSpec, Plan]:
    """The spec with its arithmetic decided, and that as a plan: what the checkpoint was made with, or the fastest, where it says auto."""
    plan = Plan.of(spec.training)
    if spec.training.precision == "auto" and resume is not None:
        plan = plan_of(Path(resume["directory"]))
    elif spec.training.precision == "auto":
        probe, asked = _probe(spec, model, loss_fn, splits, device), plan
        plan, timed = ranks.agreed(lambda: probe.choose(asked, can_fuse=spec.optimizer.type in FUSED))
        tell(PlanChosen(plan=str(plan), training=asdict(plan), measured=[str(each) for each in timed]))
    if plan.compile and (lacking := why_not_compiled(device)):
        tell(Warned(code="not_compiled", pointer="/training/compile", detail=f"The model is not compiled: {lacking}."))
        plan = replace(plan, compile=False)
    return spec.model_copy(update={"training": plan.into(spec.training)}), plan


def _probe(spec: JobSpec, model: nn.Module, loss_fn: nn.Module, splits: Splits, device: torch.device) -> Probe:
    groups = grouped(torch.arange(len(splits.train)), size=spec.dataloader.batch_size)[:PROBED_BATCHES]
    batches = Batches(splits.train, spec, device=device).over(groups)
    classes = spec.dataset.facts.num_classes
    targeted = [(inputs, targets_for(spec.dataset.target, inputs, labels, classes)) for inputs, labels in batches]
    return Probe(model, loss_fn, lambda copied, plan: build_optimizer(spec.optimizer, copied, **plan.options()), targeted, device)


def asked_metrics(spec: JobSpec) -> dict[str, Any]:
    """Torchmetrics' metrics that the spec asks for, by their name."""
    asked = beside_built_in(spec)
    return build_metrics(asked, task=spec.dataset.task, num_classes=spec.dataset.facts.num_classes) if asked else {}
