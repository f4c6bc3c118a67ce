"""The job spec: five required keys, everything else with a default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from service.spec.catalog import Closed
from service.spec.dataset import AnyDataset
from service.spec.export import Export
from service.spec.faults import faults_of
from service.spec.model import Model
from service.spec.notify import MOST, Notify
from service.spec.rules import across_parts, untrained
from service.spec.training import AnyOptimizer, Checkpoint, DataLoader, Evaluation, Loss, Resources, Scheduler, Training
from service.spec.verdict import Fault, SpecFaults

SPEC_VERSION = 1
"""The newest that this code understands; a worker leaves jobs of a newer one to newer workers."""

Text = Annotated[str, Field(strict=True, max_length=200)]


Name = Annotated[Text | None, Field(description="What you call the job.")]
Labels = Annotated[
    dict[Text, Text],
    Field(max_length=32, default_factory=dict, description="Words of your own, by which jobs are listed: {course: intro}."),
]
Seed = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        lt=2**63,
        description="`torch.manual_seed`: weights, order of batches, splits and augmentation are drawn from it.",
    ),
]

Notified = Annotated[
    tuple[Notify, ...],
    Field(max_length=MOST, description="Who is told by a signed webhook where the job goes. Left out: nobody."),
]


class Own(Closed):
    """What jobs of a sweep differ in. Nothing else in a spec, and no verdict on it, depends on these."""

    name: Name = None
    labels: Labels
    seed: Seed = 0
    notify: Notified = ()


class JobSpec(Closed):
    """Everything a training needs, in PyTorch's own words."""

    spec_version: Literal[1] = Field(default=1, description="The version of this format.")
    name: Name = None
    labels: Labels
    seed: Seed = 0
    dataset: AnyDataset = Field(description="The data, and what is done to each sample.")
    dataloader: DataLoader = Field(default=DataLoader(), description="How samples become batches.")
    model: Model = Field(description="What is trained: layers, a classifier of torchvision, your own source, or an earlier job's model.")
    loss: Loss = Field(description="What is made small: one of torch.nn's losses.")
    optimizer: AnyOptimizer = Field(description="How weights change with each step: one of torch.optim's.")
    lr_scheduler: Scheduler | None = Field(default=None, description="How the learning rate changes: one of torch.optim.lr_scheduler's.")
    epochs: Annotated[
        int,
        Field(
            strict=True,
            ge=0,
            le=100_000,
            description="Passes over the training samples; 0 evaluates the model of an earlier job on other data.",
        ),
    ]
    training: Training = Field(default=Training(), description="Precision, clipping, accumulation, averaging, stopping early.")
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="When state is saved, and which epoch's weights become the model.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is measured besides the loss.")
    export: Annotated[tuple[Export, ...], Field(max_length=10)] = Field(
        default=(), description="Files of the trained model besides model.safetensors, which is always there."
    )
    resources: Resources = Field(default=Resources(), description="Where the job runs, and what it may use.")
    notify: Notified = ()


def read_spec(body: Mapping[str, Any]) -> JobSpec:
    """The spec that a body says. Raises SpecFaults with every fault at once, pointers into the body as sent."""
    spec, faults = read_parts(body)
    if spec is None or faults:
        raise SpecFaults(faults)
    return spec


def read_parts(body: Mapping[str, Any]) -> tuple[JobSpec | None, list[Fault]]:
    """The spec, and every fault that needs no torch to see. None where it cannot be read at all."""
    try:
        spec = JobSpec.model_validate(body)
    except ValidationError as error:
        return None, [*faults_of(error, body), *untrained(body)]
    return spec, [*untrained(body), *across_parts(spec)]
