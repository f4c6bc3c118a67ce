"""How a model is trained: loss, optimizer, schedule, steps, checkpoints, evaluation, resources."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, Field, create_model

from service.spec.catalog import Closed, Declared, Shorthand, annotation, load, union

Count = Annotated[int, Field(strict=True, ge=1)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Monitored = Annotated[
    str,
    Field(
        strict=True,
        max_length=100,
        examples=["val_loss", "val_accuracy", "train_loss", "val_f1_score"],
        description="train_loss, train_accuracy, val_loss, val_accuracy, or val_ and the name in snake_case of one of evaluation.metrics "
        "that gives one number.",
    ),
]
Mode = Literal["min", "max"]


def _is_pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"this is no regular expression: {error}") from error
    return value


class ParameterGroup(Closed):
    """Options of the parameters that `match` finds; what is not given is as in the optimizer."""

    match: Annotated[str, Field(strict=True, min_length=1, max_length=200), AfterValidator(_is_pattern)] = Field(
        description="A regular expression, searched (upper or lower case) in `name` and in `Class.name` of every parameter, "
        "as in 0.bias and Linear.bias. The first group that matches a parameter takes it."
    )

    def options(self) -> dict[str, Any]:
        """What differs from the optimizer's own options."""
        return {name: value for name in type(self).model_fields if name != "match" and (value := getattr(self, name)) is not None}


class Optimizer(Declared):
    """An optimizer; `groups` give some parameters options of their own."""

    own_keys: ClassVar[frozenset[str]] = frozenset({"groups"})

    groups: tuple[ParameterGroup, ...] = Field(default=(), description="Options for some parameters.")


def _with_groups(name: str, entry: dict[str, Any]) -> type[Optimizer]:
    """The optimizer's record whose groups take that optimizer's arguments."""
    fields: dict[str, Any] = {
        argument: (annotation(says) | None, Field(default=None, description=says["help"])) for argument, says in entry["args"].items()
    }
    group = create_model(f"{name}Group", __base__=ParameterGroup, __doc__=f"Some parameters' options of {name}.", **fields)
    groups: Any = Annotated[tuple.__class_getitem__((group, ...)), Field(max_length=100)]
    described: Any = Field(default=(), description="Options for some parameters.")
    return create_model(f"Any{name}", __base__=Optimizer, __module__=__name__, groups=(groups, described))


if TYPE_CHECKING:
    Loss = Declared
    AnyOptimizer = Optimizer
    Scheduler = Declared
    Metric = Declared
else:
    Loss = union("losses")
    AnyOptimizer = union("optimizers", base={name: _with_groups(name, entry) for name, entry in load()["optimizers"].items()})
    Scheduler = union("schedulers")
    Metric = union("metrics")


FUSED = ("SGD", "Adam", "AdamW", "Adagrad")
"""Optimizers of which torch has a fused form, on the CPU and on CUDA."""


class WeightedRandomSampler(Closed):
    """Draws as many samples as there are, with replacement, each as often as its class weighs: `torch.utils.data.WeightedRandomSampler`."""

    type: Literal["WeightedRandomSampler"]
    weights: (
        Literal["balanced"]
        | Annotated[tuple[Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)], ...], Field(min_length=2, max_length=100_000)]
    ) = Field(
        default="balanced",
        description="One for each class; balanced weighs a class by one over its number of training samples, so that all are drawn equally often.",
    )


class DataLoader(Closed):
    """How samples become batches: `torch.utils.data.DataLoader`."""

    batch_size: Count = Field(default=64, description="Samples of a training batch.")
    eval_batch_size: Count = Field(default=512, description="Samples of a batch of the validation and the test split.")
    shuffle: Flag = Field(default=True, description="Draw the training samples in another order every epoch.")
    num_workers: Annotated[int, Field(strict=True, ge=0, le=64)] = Field(
        default=0, description="Processes that load batches; the weights do not depend on how many."
    )
    drop_last: Flag = Field(default=False, description="Leave out the last training batch where it is smaller.")
    sampler: Annotated[WeightedRandomSampler, Shorthand(["WeightedRandomSampler"])] | None = Field(
        default=None, description="For classes of unequal size; takes the place of shuffle."
    )


class EarlyStopping(Closed):
    """Stop once the monitored value has not improved for `patience` epochs."""

    monitor: Monitored = "val_loss"
    mode: Mode = Field(default="min", description="Whether a smaller or a larger value is better.")
    patience: Count = Field(default=2, description="Epochs without a better value after which training stops.")
    min_delta: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = Field(
        default=0.0, description="By how much a value has to be better to count."
    )


MOST_LOGGED = 100_000
"""Steps of a job that are told one by one."""


class Training(Closed):
    """How steps are taken."""

    precision: Literal["float32", "bfloat16", "float16", "auto"] = Field(
        default="float32",
        description="What the forward pass computes in (torch.autocast; float16 with a GradScaler). auto times a few steps of every plan "
        "that the worker can do - bfloat16, channels_last, fused - on the job's first batches, and takes the fastest. "
        "Weights, loss and evaluation stay float32.",
    )
    channels_last: Flag = Field(default=False, description="Images and kernels in memory order NHWC: convolutions are often faster so.")
    fused: Flag = Field(default=False, description="The optimizer's fused form: one kernel for all parameters. SGD, Adam, AdamW, Adagrad.")
    compile: Flag | Literal["reduce-overhead", "max-autotune"] = Field(
        default=False,
        description="torch.compile; or its mode: reduce-overhead records CUDA graphs. Compiling takes from seconds to minutes, "
        "on the CPU it needs a C++ compiler beside the worker.",
    )
    clip_grad_norm: Positive | None = Field(default=None, description="Most that the norm of all gradients together may be.")
    clip_grad_value: Positive | None = Field(
        default=None, description="Most that any one number of a gradient may be, either way. Beside clip_grad_norm it comes second."
    )
    gradient_accumulation_steps: Count = Field(default=1, description="Batches whose gradients are averaged for one step of the optimizer.")
    ema_decay: Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)] | None = Field(
        default=None, description="Keep an exponential moving average of the weights, which is then evaluated and handed out; 0.999, say."
    )
    nan_loss: Literal["fail", "roll_back"] = Field(
        default="fail",
        description="What a loss does that is no number: end the job, or go back to the last checkpoint and leave out the batches before it.",
    )
    skip_batches: Annotated[tuple[tuple[Natural, Natural], ...], Field(max_length=10_000)] = Field(
        default=(), description="Batches to leave out, each [epoch, batch], both counted from 0; a roll-back adds to them."
    )
    deterministic: Flag = Field(
        default=True,
        description="On a GPU: operators that give the same bits each time, with a warning for one that has no such form. "
        "False allows faster ones, and speed that changes rounding.",
    )
    early_stopping: EarlyStopping | None = Field(default=None, description="Stop before `epochs` are over.")
    log_every_n_steps: Count | None = Field(
        default=None,
        description="Loss and learning rate of every so many-th step are kept. null: of so many that the job has 2,000 such points at most. "
        "No job has more than 100,000: where this would give more, every so many-th of them is kept.",
    )


class Checkpoint(Closed):
    """When state is saved, and which epoch's weights become the model (the last's where nothing is monitored).

    Training never waits: where disk or storage is slower, a newer checkpoint takes the place of one that waits. Never dropped are the newest (so that
    of a pause, a drain or a timeout) and the best epoch's weights, which every later one holds.
    """

    every_n_epochs: Count = Field(default=1, description="Save after so many epochs; of what comes within one second, the newest.")
    every_n_steps: Count | None = Field(default=None, description="Save after so many steps, too.")
    monitor: Monitored | None = Field(
        default=None,
        description="The value by which the best epoch is chosen, whose weights become the model; named as in early_stopping. "
        "The last epoch's become it if left out.",
    )
    mode: Mode = Field(default="max", description="Whether a smaller or a larger value is better.")
    keep_last: Count = Field(default=2, description="Checkpoints that are kept; the best epoch's weights are in each.")


class Evaluation(Closed):
    """What is measured after training on the test split, and after every epoch on the validation split, besides the loss."""

    metrics: Annotated[tuple[Metric, ...], Field(max_length=50)] | None = Field(
        default=None, description="torchmetrics' names. Left out: Accuracy and ConfusionMatrix, where there are classes."
    )
    predictions: Flag = Field(
        default=False,
        description="Write evaluation/predictions.parquet: a row for each test sample, with its label, the answer, and a column for each "
        "class's probability, or for each number of the output.",
    )


class Resources(Closed):
    """What the job may use, and for how long. `threads` is part of the numbers: it is filled in at submit and kept."""

    device: Literal["auto", "cpu", "gpu"] = Field(
        default="auto", description="The kind of worker; auto is a GPU where one works when the job is submitted, else a CPU."
    )
    gpus: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(
        default=1,
        description="GPUs of one machine that train together (DistributedDataParallel), each with a part of every batch. More than one make "
        "auto a GPU.",
    )
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = Field(
        default=None, description="`torch.set_num_threads`; the installation's TRAINYARD_THREADS if left out. Other threads, other bits."
    )
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=2_419_200)] = Field(
        default=86_400, description="Seconds that it may run, all attempts together."
    )
    max_retries: Annotated[int, Field(strict=True, ge=0, le=100)] = Field(
        default=2, description="Attempts after one that a lost worker, trainer or store ended, counted since the last checkpoint."
    )
    priority: Annotated[int, Field(strict=True, ge=-100, le=100)] = Field(
        default=0, description="Waiting jobs of a higher one start first; equal ones as they came."
    )
