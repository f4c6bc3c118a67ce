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
from service.spec.rules import across_parts, untrained
from service.spec.training import AnyOptimizer, Checkpoint, DataLoader, Evaluation, Loss, Resources, Scheduler, Training
from service.spec.verdict import Fault, SpecFaults

SPEC_VERSION = 1
"""The newest that this code understands; a worker leaves jobs of a newer one to newer workers."""

Text = Annotated[str, Field(strict=True, max_length=200)]


Name = Annotated[Text | None, Field(description="What the job is called in lists; need not be unique.")]
Labels = Annotated[
    dict[Text, Text],
    Field(max_length=32, default_factory=dict, description="Words of your own, to find jobs by: {course: intro, student: ada}."),
]
Seed = Annotated[
    int, Field(strict=True, ge=0, lt=2**63, description="Of everything that is drawn at random: the same seed gives the same weights.")
]


class Own(Closed):
    """What jobs of a sweep differ in. Nothing else in a spec, and no verdict on it, depends on these."""

    name: Name = None
    labels: Labels
    seed: Seed = 0


class JobSpec(Closed):
    """Everything a training needs, in PyTorch's own words."""

    spec_version: Literal[1] = Field(default=1, description="The version of this language; 1 is the only one so far.")
    name: Name = None
    labels: Labels
    seed: Seed = 0
    dataset: AnyDataset = Field(description="What is learnt from: one of torchvision's data sets, or your own.")
    dataloader: DataLoader = Field(default=DataLoader(), description="How samples become batches.")
    model: Model = Field(description="What learns: layers, a model of torchvision, a class of your own, or that of an earlier job.")
    loss: Loss = Field(description="What training makes small: how far the model's output is from the target.")
    optimizer: AnyOptimizer = Field(description="How weights change after each batch.")
    lr_scheduler: Scheduler | None = Field(
        default=None, description="How the learning rate changes over the training; constant if left out."
    )
    epochs: Annotated[int, Field(strict=True, ge=0, le=100_000)] = Field(
        description="How often the whole training data is gone through. 0 evaluates the model of an earlier job on other data."
    )
    training: Training = Field(default=Training(), description="How steps are taken: precision, clipping, early stopping, averaging.")
    checkpoint: Checkpoint = Field(default=Checkpoint(), description="When state is saved, and which epoch's weights become the model.")
    evaluation: Evaluation = Field(default=Evaluation(), description="What is measured besides the loss.")
    export: Annotated[tuple[Export, ...], Field(max_length=10)] = Field(
        default=(), description="Files of the trained model besides model.safetensors, which is always there."
    )
    resources: Resources = Field(default=Resources(), description="What the job may use, and for how long.")


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
