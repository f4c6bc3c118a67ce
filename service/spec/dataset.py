"""The dataset part of a spec, and what is known of each dataset without looking at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic.json_schema import SkipJsonSchema

from service.spec import tables
from service.spec.catalog import Declared, load, union
from service.spec.content import Content
from service.spec.verdict import Fault

if TYPE_CHECKING:
    Transform = Declared
    BatchTransform = Declared
else:
    Transform = union("transforms")
    BatchTransform = union("batch_transforms")

Target = Literal["label", "one_hot", "signed", "value", "binary", "input"]
Task = Literal["classification", "binary", "multilabel", "regression"]
LOCAL = {"ImageFolder": "root", "Tensors": "file", "Table": "file"}
"""Data sets below the operator's folder, with the argument that says where."""
PLACED_BY = {"Upload": "name", **LOCAL}
"""The argument that says where data of one's own are."""
BROUGHT = tuple(PLACED_BY)
"""Data sets that somebody brought: what is in them is looked up when a spec is submitted, and stands in it from then on."""


class Dataset(Declared):
    """Which data, how it is split, and what is done to each sample."""

    own_keys: ClassVar[frozenset[str]] = frozenset(
        {"validation_split", "limit", "target", "transforms", "train_transforms", "augment", "batch_transforms", "content"}
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
            "the class number as one float (value), or as the 0 or 1 that one output is judged by (binary: above 0 means 1); "
            "or the sample itself (input), as an autoencoder does. Labels that are several numbers are taken as they are (label)."
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

    @model_validator(mode="before")
    @classmethod
    def _untransformed(cls, values: Any) -> Any:
        """What is no image needs no transform, unless the spec says so. Content is for data that somebody brought, and nobody else's to say."""
        content = values.get("content") if isinstance(values, dict) else None
        if content is None:
            return values
        if values.get("type") not in BROUGHT:
            raise ValueError("content is what the service finds in data of your own; leave it out")
        samples = content.get("samples") if isinstance(content, dict) else getattr(content, "samples", "images")
        return values if "transforms" in values or samples == "images" else {**values, "transforms": ()}

    content: SkipJsonSchema[Content | None] = Field(default=None, description="What is in a data set of your own; the service fills it in.")

    @property
    def is_known(self) -> bool:
        """Whether `facts` can be told."""
        return self.type not in BROUGHT if self.content is None else self.has_targets and not self.column_faults

    @property
    def has_targets(self) -> bool:
        """Whether it is known what an answer is: by labels, by those of an earlier job, or as the sample itself is the target."""
        return self.content is None or self.content.layout == "table" or self.content.labels is not None or self.target == "input"

    @property
    def is_judged(self) -> bool:
        """Whether there is anything to compare answers with."""
        return self.is_labelled or self.target == "input"

    @property
    def is_labelled(self) -> bool:
        """Whether samples have labels."""
        return self.content is None or self.content.labelled

    @property
    def column_faults(self) -> list[Fault]:
        """What is wrong with the columns that are named of a table."""
        if self.content is None or self.content.layout != "table":
            return []
        return tables.faults(self.content, self.arguments())

    @property
    def facts(self) -> DatasetFacts:
        """Sizes, without looking at the data."""
        if self.content is not None:
            return _facts_of(self.content, self.arguments())
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
    def class_names(self) -> tuple[str, ...]:
        """What classes, labels or numbers are called, in their order; empty where only the data say."""
        if self.content is None:
            return ()
        return tables.taken(self.content, self.arguments()).classes if self.content.layout == "table" else self.content.classes

    @property
    def split_sizes(self) -> tuple[int, int]:
        """(training, validation) samples after `limit` and `validation_split`."""
        size = self.facts.train if self.limit is None else min(self.limit, self.facts.train)
        if self.facts.validation:
            return size, self.facts.validation
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
    def task(self) -> Task:
        """What is learnt: one class of several, yes or no, yes or no of several things, or numbers."""
        if self.target == "input":
            return "regression"
        match self.facts.labels:
            case "class":
                return "binary" if self.target == "binary" else "regression" if self.target == "value" else "classification"
            case "several":
                return "multilabel"
            case "numbers":
                return "regression"

    @property
    def is_classification(self) -> bool:
        """Whether the model's largest output is its answer."""
        return self.task == "classification"

    @property
    def counts_answers(self) -> bool:
        """Whether an answer is right or wrong, and not just near or far."""
        return self.task != "regression"

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
    """One sample's shape ([channels, height, width] of an image, None where images differ), and the splits' sizes.

    `num_classes` counts classes, labels or numbers, by what the labels are.
    """

    shape: tuple[int | None, ...]
    num_classes: int
    train: int
    test: int
    validation: int = 0
    """Of a data set that brings its own."""
    samples: Literal["images", "numbers", "rows"] = "images"
    dtype: Literal["float32", "int64"] = "float32"
    """Of samples that are numbers, before their transforms."""
    span: tuple[int, int] | None = (0, 255)
    """The least and the most that a sample holds, where it holds whole numbers: pixels, before they are scaled."""
    labels: Literal["class", "several", "numbers"] = "class"


def _facts_of(content: Content, arguments: Mapping[str, Any]) -> DatasetFacts:
    train, test = content.sizes["train"], content.sizes.get("test")
    if test is None:
        test = int(train * arguments["test_split"])
        train -= test
    shape, classes, labels = content.shape, content.classes, content.labels or "class"
    if content.layout == "table":
        columns = tables.taken(content, arguments)
        shape, classes, labels = (columns.width,), columns.classes, columns.kind
    return DatasetFacts(
        shape=shape,
        num_classes=len(classes),
        train=train,
        test=test,
        validation=content.sizes.get("validation", 0),
        samples=content.samples,
        dtype=content.dtype,
        span=(0, 255) if content.samples == "images" else content.span,
        labels=labels,
    )


if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = union("datasets", base=Dataset)
