"""What of a spec the check by building depends on, and the verdict made of both halves: reading, and building."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.spec.catalog import Declared
from service.spec.dataset import AnyDataset, Dataset
from service.spec.export import Export
from service.spec.job import JobSpec, read_parts
from service.spec.lints import lint
from service.spec.model import AnyLayer, Layer, Model
from service.spec.monitors import MEASURED
from service.spec.schedules import timed
from service.spec.training import AnyOptimizer, DataLoader, Evaluation, Loss, Optimizer, Scheduler, Training
from service.spec.verdict import Checked, Fault, Verdict

_NEEDED = ("dataset", "dataloader", "model", "loss", "optimizer", "lr_scheduler", "training", "evaluation", "export")
_COMPLETED = ("model", "lr_scheduler")
"""What sizes and lengths are missing in, until it is built."""


def needed(body: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a spec that the check by building depends on: jobs that differ in seed, name or learning rate share one check."""
    parts = {name: body[name] for name in _NEEDED if name in body}
    if isinstance(parts.get("optimizer"), Mapping):
        parts["optimizer"] = {name: value for name, value in parts["optimizer"].items() if name != "lr"}
    if parts.get("lr_scheduler") is not None and "epochs" in body:
        parts["epochs"] = body["epochs"]
    return parts


def is_custom(parts: Mapping[str, Any]) -> bool:
    """Whether the model, or that of the job it starts from, is the user's own source."""
    model = parts.get("model")
    inner = model.get("model") if isinstance(model, Mapping) and model.get("type") == "Job" else model
    return isinstance(inner, Mapping) and inner.get("type") == "Module"


def digest(parts: Mapping[str, Any]) -> str:
    """A name for parts that are equal."""
    return hashlib.sha256(json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The parts that can be read, each on its own; None where one cannot, or is left out."""

    body: Mapping[str, Any]
    dataset: Dataset | None
    dataloader: DataLoader
    model: Model | None
    loss: Declared | None
    optimizer: Optimizer | None
    lr_scheduler: Declared | None
    training: Training
    evaluation: Evaluation
    export: tuple[Export, ...]
    epochs: int | None

    @classmethod
    def read(cls, body: Mapping[str, Any]) -> Parts:
        """Each part that can be read."""
        epochs = body.get("epochs")
        return cls(
            body=body,
            dataset=_known(_read("dataset", body.get("dataset"))),
            dataloader=_read("dataloader", body.get("dataloader", {})) or DataLoader(),
            model=_read("model", body.get("model")),
            loss=_read("loss", body.get("loss")),
            optimizer=_read("optimizer", body.get("optimizer")),
            lr_scheduler=_read("lr_scheduler", body.get("lr_scheduler")),
            training=_read("training", body.get("training", {})) or Training(),
            evaluation=_read("evaluation", body.get("evaluation", {})) or Evaluation(),
            export=_read("export", body.get("export")) or (),
            epochs=epochs if isinstance(epochs, int) and not isinstance(epochs, bool) and epochs > 0 else None,
        )

    @property
    def metrics(self) -> tuple[Declared, ...]:
        """The metrics asked for."""
        return self.evaluation.metrics or ()

    def readable_layers(self) -> tuple[AnyLayer, ...]:
        """Of a Sequential that cannot be read whole: the layers before the first that cannot."""
        model = self.body.get("model")
        layers = model.get("layers") if isinstance(model, Mapping) and model.get("type") == "Sequential" else None
        readable: list[AnyLayer] = []
        for layer in layers if isinstance(layers, list) else []:
            one = _read("layer", layer)
            if one is None:
                break
            readable.append(one)
        return tuple(readable)

    def batch_sizes(self) -> tuple[int, int]:
        """Samples of the first training batch, and of the last."""
        assert self.dataset is not None  # noqa: S101  # asked for with a data set only
        training, size = self.dataset.split_sizes[0], self.dataloader.batch_size
        first = max(1, min(size, training))
        return first, first if self.dataloader.drop_last or training % size == 0 else training % size

    def steps(self) -> int | None:
        """Steps of the schedule over the whole training, as its `interval` counts them."""
        if self.epochs is None or self.dataset is None or self.lr_scheduler is None:
            return None
        training, size = self.dataset.split_sizes[0], self.dataloader.batch_size
        batches = training // size if self.dataloader.drop_last else -(-training // size)
        per_epoch = -(-batches // self.training.gradient_accumulation_steps)
        return self.epochs * (per_epoch if self.lr_scheduler.arguments().get("interval") == "step" else 1)

    def timed_scheduler(self) -> tuple[Declared, list[Fault]]:
        """The schedule with its lengths filled in, and what is wrong with them."""
        assert self.lr_scheduler is not None  # noqa: S101  # asked for where there is one
        return timed(self.lr_scheduler, self.steps())


_ANNOTATIONS: dict[str, Any] = {
    "dataset": AnyDataset,
    "dataloader": DataLoader,
    "model": Model,
    "layer": Layer,
    "loss": Loss,
    "optimizer": AnyOptimizer,
    "lr_scheduler": Scheduler,
    "training": Training,
    "evaluation": Evaluation,
    "export": tuple[Export, ...],
}


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    return TypeAdapter(_ANNOTATIONS[name])


def _read(name: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        return _adapter(name).validate_python(value)
    except ValidationError:
        return None


def _known(dataset: Dataset | None) -> Dataset | None:
    return dataset if dataset is not None and dataset.is_known else None


def verdict(body: Mapping[str, Any], checked: Checked | None, *, threads: int) -> Verdict:
    """Both halves as one: every fault in the order of the body; without one the spec with every default and size filled in.

    `checked` is None where nobody could build: the spec is then resolved as far as reading goes.
    """
    spec, faults = read_parts(body)
    built = checked or Checked()
    errors = _merged([*faults, *built.errors])
    warnings = (*built.warnings, *(lint(spec) if spec is not None and spec.dataset.is_known else ()))
    shared = {name: getattr(built, name) for name in ("layers", "num_parameters", "flops_per_sample", "memory_bytes")}
    if errors or spec is None:
        return Verdict(valid=False, errors=errors, warnings=warnings, **shared)
    return Verdict(valid=True, warnings=warnings, resolved_spec=_resolved(spec, built, threads=threads) if checked else None, **shared)


def _merged(faults: list[Fault]) -> tuple[Fault, ...]:
    """Each place's fault once: what reading found says more than what building found of the same."""
    return tuple({(fault.pointer, fault.code): fault for fault in reversed(faults)}.values())[::-1]


def _filled_in(body: Mapping[str, Any], checked: Checked) -> dict[str, Any]:
    """The parts of a readable spec that building completes, and no others.

    Custom code can answer in its check's place. It is not asked: its model stands in the spec whole, and a schedule's length is counted here.
    """
    if not is_custom(body):
        return {name: checked.resolved[name] for name in _COMPLETED if name in checked.resolved}
    parts = Parts.read(body)
    return {} if parts.lr_scheduler is None else {"lr_scheduler": parts.timed_scheduler()[0].model_dump(mode="json")}


def _resolved(spec: JobSpec, checked: Checked, *, threads: int) -> dict[str, Any]:
    # who is told of it is nothing of the training's
    body = spec.model_dump(mode="json", exclude={"notify"})
    resolved = body | _filled_in(body, checked)
    if spec.resources.threads is None:
        resolved["resources"]["threads"] = threads
    if spec.evaluation.metrics is None or not spec.dataset.is_judged:
        names = MEASURED.get(spec.dataset.task, ()) if spec.dataset.is_judged else ()
        evaluation = Evaluation.model_validate({"metrics": names})
        resolved["evaluation"]["metrics"] = evaluation.model_dump(mode="json")["metrics"]
    return resolved
