"""The job spec: five required keys, everything else with a default. And the rules that span its parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError

from service.spec.catalog import Closed, Declared, expanded, union
from service.spec.dataset import AnyDataset
from service.spec.faults import faults_of
from service.spec.verdict import Fault, SpecFaults

Count = Annotated[int, Field(strict=True, ge=1)]
Natural = Annotated[int, Field(strict=True, ge=0)]
Positive = Annotated[float, Field(strict=True, gt=0, allow_inf_nan=False)]
Flag = Annotated[bool, Field(strict=True)]
Text = Annotated[str, Field(strict=True, max_length=200)]
Monitored = Literal["train_loss", "train_accuracy", "val_loss", "val_accuracy"]
Mode = Literal["min", "max"]

if TYPE_CHECKING:
    Layer = Declared
    Loss = Declared
    Optimizer = Declared
else:
    Layer = union("layers")
    Loss = union("losses")
    Optimizer = union("optimizers")


class Sequential(Closed):
    """Layers, one after the other: `nn.Sequential`."""

    type: Literal["Sequential"]
    layers: tuple[Layer, ...]


class DataLoader(Closed):
    """How samples become batches: `torch.utils.data.DataLoader`."""

    batch_size: Count = 64
    eval_batch_size: Count = 512
    shuffle: Flag = True
    num_workers: Annotated[int, Field(strict=True, ge=0, le=64)] = 0
    drop_last: Flag = False


class EarlyStopping(Closed):
    """Stop once the monitored value has not improved for `patience` epochs."""

    monitor: Monitored = "val_loss"
    mode: Mode = "min"
    patience: Count = 2
    min_delta: Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)] = 0.0


class Training(Closed):
    """How steps are taken."""

    precision: Literal["float32"] = "float32"
    clip_grad_norm: Positive | None = None
    gradient_accumulation_steps: Count = 1
    deterministic: Flag = True
    early_stopping: EarlyStopping | None = None


class Checkpoint(Closed):
    """When state is saved, and which epoch's weights become the model (the last's where nothing is monitored)."""

    every_n_epochs: Count = 1
    every_n_steps: Count | None = None
    monitor: Monitored | None = None
    mode: Mode = "max"
    keep_last: Count = 2


class Evaluation(Closed):
    """What is measured on the test split after training."""

    metrics: tuple[Literal["Accuracy", "ConfusionMatrix"], ...] = ("Accuracy", "ConfusionMatrix")


class Resources(Closed):
    """What the job may use, and for how long. `threads` is part of the numbers: it is filled in at submit and kept."""

    device: Literal["auto", "cpu", "gpu"] = "auto"
    gpus: Annotated[int, Field(strict=True, ge=1, le=1)] = 1
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = None
    timeout_seconds: Annotated[int, Field(strict=True, ge=1, le=2_419_200)] = 86_400
    max_retries: Annotated[int, Field(strict=True, ge=0, le=100)] = 2
    priority: Annotated[int, Field(strict=True, ge=-100, le=100)] = 0


class JobSpec(Closed):
    """Everything a training needs, in PyTorch's own words."""

    spec_version: Literal[1] = 1
    name: Text | None = None
    labels: Annotated[dict[Text, Text], Field(max_length=32, default_factory=dict)]
    seed: Annotated[int, Field(strict=True, ge=0, lt=2**63)] = 0
    dataset: AnyDataset
    dataloader: DataLoader = DataLoader()
    model: Annotated[Sequential, BeforeValidator(expanded)]
    loss: Loss
    optimizer: Optimizer
    epochs: Annotated[int, Field(strict=True, ge=1, le=100_000)]
    training: Training = Training()
    checkpoint: Checkpoint = Checkpoint()
    evaluation: Evaluation = Evaluation()
    resources: Resources = Resources()


def read_spec(body: Mapping[str, Any]) -> JobSpec:
    """The spec that a body says. Raises SpecFaults with every fault at once, pointers into the body as sent."""
    try:
        spec = JobSpec.model_validate(body)
    except ValidationError as error:
        raise SpecFaults(faults_of(error, body)) from error
    faults = _across_parts(spec)
    if faults:
        raise SpecFaults(faults)
    return spec


def _across_parts(spec: JobSpec) -> list[Fault]:
    faults = []
    if not 1 <= len(spec.model.layers) <= 1000:
        faults.append(
            Fault(pointer="/model/layers", code="layers", detail=f"A model has 1 to 1000 layers; this has {len(spec.model.layers)}.")
        )
    training, validation = spec.dataset.split_sizes
    monitors = {"/checkpoint/monitor": spec.checkpoint.monitor}
    if spec.training.early_stopping:
        monitors["/training/early_stopping/monitor"] = spec.training.early_stopping.monitor
    for pointer, monitor in monitors.items():
        if monitor and monitor.startswith("val_") and validation == 0:
            faults.append(
                Fault(
                    pointer=pointer,
                    code="no_validation_split",
                    detail=f"{monitor} is watched, but the validation split is empty.",
                    suggestion="Set dataset.validation_split, for example to 0.1.",
                )
            )
    if training == 0 or (spec.dataloader.drop_last and training < spec.dataloader.batch_size):
        faults.append(
            Fault(
                pointer="/dataloader/batch_size",
                code="no_batches",
                detail=f"{training} training samples in batches of {spec.dataloader.batch_size} leave nothing to train on.",
                suggestion="Use a smaller batch_size, drop_last: false, or more samples.",
            )
        )
    return faults
