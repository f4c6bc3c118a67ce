"""One declared thing as the constructor call that a person would write."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from service.spec.catalog import Declared
from service.spec.job import JobSpec
from service.spec.training import Optimizer


def call(declared: Declared, *first: str, leave_out: Sequence[str] = (), value: Callable[[str, Any], str] | None = None) -> str:
    """The constructor call a person would write: what differs from torch's defaults."""
    write = value or (lambda _, each: repr(each))
    chosen = {name: each for name, each in declared.chosen().items() if name not in leave_out}
    return f"{declared.type}({', '.join([*first, *(f'{name}={write(name, each)}' for name, each in chosen.items())])})"


def composed(transforms: Sequence[Declared]) -> str:
    """Transforms, one after the other."""
    if not transforms:
        return "v2.Identity()"
    lines = "".join(f"        {_transform(each)},\n" for each in transforms)
    return f"v2.Compose(\n    [\n{lines}    ]\n)"


def mixing(declared: Declared, num_classes: int) -> str:
    """A transform of whole batches; it has to know how many classes there are."""
    if declared.type != "RandomChoice":
        return f"v2.{call(declared)[:-1]}{', ' if declared.chosen() else ''}num_classes={num_classes})"
    inner = ", ".join(mixing(each, num_classes) for each in declared.arguments()["transforms"])
    chances = declared.arguments()["p"]
    return f"v2.RandomChoice([{inner}]{'' if chances is None else f', p={list(chances)!r}'})"


def _transform(declared: Declared) -> str:
    return f"v2.{call(declared, value=_transform_value)}"


def _transform_value(name: str, value: Any) -> str:
    if name == "dtype":
        return f"torch.{value}"
    if name == "policy":
        return f"v2.AutoAugmentPolicy({value!r})"
    if name == "transforms":
        return f"[{', '.join(_transform(each) for each in value)}]"
    return repr(list(value) if isinstance(value, tuple) else value)


def loss(declared: Declared) -> str:
    """The loss; weights of classes are tensors."""

    def write(name: str, value: Any) -> str:
        return f"torch.tensor({list(value)!r})" if name in ("weight", "pos_weight") and value is not None else repr(value)

    return call(declared, value=write)


def optimizer(declared: Optimizer, *, is_frozen: bool, fused: bool) -> str:
    """The optimizer of what is trained."""
    parameters = "[parameter for parameter in model.parameters() if parameter.requires_grad]" if is_frozen else "model.parameters()"
    if declared.groups:
        groups = [(group.match, group.options()) for group in declared.groups]
        parameters = f"parameter_groups(model, {groups!r})"
    made = call(declared, parameters)
    return f"{made[:-1]}, fused=True)" if fused else made


def scheduler(declared: Declared) -> str:
    """The schedule; those that hold others name them in a list."""

    def write(name: str, value: Any) -> str:
        if name == "schedulers":
            return f"[{', '.join(scheduler(each) for each in value)}]"
        return repr(list(value) if isinstance(value, tuple) else value)

    text = call(declared, "optimizer", leave_out=("interval", "monitor"), value=write)
    if declared.type == "ChainedScheduler":
        text = f"ChainedScheduler({write('schedulers', declared.arguments()['schedulers'])}, optimizer=optimizer)"
    return f"torch.optim.lr_scheduler.{text}"


def metric(declared: Declared, spec: JobSpec) -> str:
    """A torchmetrics object."""
    if not spec.dataset.counts_answers:
        return f"torchmetrics.regression.{call(declared, value=_metric_value)}"
    number = spec.dataset.facts.num_classes
    of_classes = {"binary": 'task="binary"', "multilabel": f'task="multilabel", num_labels={number}'}.get(
        spec.dataset.task, f'task="multiclass", num_classes={number}'
    )
    return f"torchmetrics.classification.{call(declared, of_classes, value=_metric_value)}"


def _metric_value(_: str, value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)
