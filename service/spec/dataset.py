"""The dataset part of a spec, and what is known of each dataset without looking at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import Field

from service.spec.catalog import Declared, load, union

if TYPE_CHECKING:
    Transform = Declared
    BatchTransform = Declared
else:
    Transform = union("transforms")
    BatchTransform = union("batch_transforms")

Target = Literal["label", "one_hot", "signed", "value", "input"]


class Dataset(Declared):
    """Which data, how it is split, and what is done to each sample."""

    own_keys: ClassVar[frozenset[str]] = frozenset(
        {"validation_split", "limit", "target", "transforms", "train_transforms", "augment", "batch_transforms"}
    )

    validation_split: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        default=0.0,
        description="Share of the training samples set aside for validation, drawn with the seed; the test split stays untouched.",
    )
    limit: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Only the first N training samples, before the split."
    )
    target: Target = Field(
        default="label",
        description=(
            "What the loss compares with: the class number; a 1 among 0s (one_hot) or among -1s (signed), for losses that want numbers; "
            "the class number as one float (value); or the sample itself (input), as an autoencoder does."
        ),
    )
    transforms: Annotated[tuple[Transform, ...], Field(max_length=100)] = Field(
        default=({"type": "ToImage"}, {"type": "ToDtype", "dtype": "float32", "scale": True}),
        validate_default=True,
        description="Done to every sample, in order.",
    )
    train_transforms: Annotated[tuple[Transform, ...], Field(max_length=100)] = Field(
        default=(),
        description="Augmentation, of training samples only: after what shapes the image, before it becomes numbers "
        "(the first of ToDtype, ToTensor, ConvertImageDtype, Normalize).",
    )
    augment: Literal["sample", "batch"] = Field(
        default="sample",
        description="Whether train_transforms are drawn for each sample, as the textbook does, or once for each training batch, which is many "
        "times faster and varies less. By batch, images have to be tensors of one size where train_transforms begin.",
    )
    batch_transforms: Annotated[tuple[BatchTransform, ...], Field(max_length=10)] = Field(
        default=(),
        description="Done to whole training batches and their labels, in order, after the transforms of each sample: MixUp and CutMix, "
        "or RandomChoice of both. Their targets are shares of classes, which the loss has to take; "
        "train_accuracy counts the class with the largest share as right.",
    )

    @property
    def facts(self) -> DatasetFacts:
        """Sizes, without looking at the data."""
        if self.type == "FakeData":
            size, image, classes = (self.arguments()[name] for name in ("size", "image_size", "num_classes"))
            return DatasetFacts(shape=tuple(image), num_classes=classes, train=size, test=max(1, size // 5))
        entry = load()["datasets"][self.type]
        if "facts_by" in entry:
            (argument, facts_by) = next(iter(entry["facts_by"].items()))
            known = facts_by[self.arguments()[argument]]
        else:
            known = entry["facts"]
        return DatasetFacts(shape=tuple(known["shape"]), num_classes=known["num_classes"], train=known["train"], test=known["test"])

    @property
    def split_sizes(self) -> tuple[int, int]:
        """(training, validation) samples after `limit` and `validation_split`."""
        size = self.facts.train if self.limit is None else min(self.limit, self.facts.train)
        validation = int(size * self.validation_split)
        return size - validation, validation

    @property
    def train_only(self) -> tuple[Transform, ...]:
        """Every transform of a training sample, in order: augmentation stands before the image becomes numbers."""
        return (*self.before_numbers, *self.after_shaping)

    @property
    def before_numbers(self) -> tuple[Transform, ...]:
        """What shapes an image, until it becomes numbers."""
        at = next((at for at, each in enumerate(self.transforms) if each.type in _TO_NUMBERS), len(self.transforms))
        return self.transforms[:at]

    @property
    def after_shaping(self) -> tuple[Transform, ...]:
        """What follows in training: augmentation, and what makes numbers."""
        return (*self.train_transforms, *self.transforms[len(self.before_numbers) :])

    @property
    def augments_batches(self) -> bool:
        """Whether augmentation is drawn for whole training batches."""
        return self.augment == "batch" and bool(self.train_transforms)

    @property
    def is_classification(self) -> bool:
        """Whether the model's largest output is its answer."""
        return self.target in ("label", "one_hot", "signed")

    @property
    def mixing(self) -> tuple[str, ...]:
        """The kinds of transforms that work on whole training batches, inner ones of a RandomChoice too."""
        drawn = self.train_transforms if self.augments_batches else ()
        return tuple(dict.fromkeys(kind for each in (*drawn, *self.batch_transforms) for kind in _kinds(each)))


def _kinds(declared: Declared) -> list[str]:
    inner = declared.arguments().get("transforms")
    return [declared.type] if inner is None else [kind for each in inner for kind in _kinds(each)]


_TO_NUMBERS = ("ToDtype", "ToTensor", "ConvertImageDtype", "Normalize")


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """One sample's shape [channels, height, width] (None where images differ), the number of classes, and the published splits' sizes."""

    shape: tuple[int | None, ...]
    num_classes: int
    train: int
    test: int


if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = union("datasets", base=Dataset)
