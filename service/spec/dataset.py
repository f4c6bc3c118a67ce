"""The dataset part of a spec, and what is known of each dataset without looking at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from service.spec.catalog import Declared, load, union

if TYPE_CHECKING:
    Transform = Declared
else:
    Transform = union("transforms")


class Dataset(Declared):
    """Which data, how it is split, and what is done to each sample."""

    own_keys: ClassVar[frozenset[str]] = frozenset({"validation_split", "limit", "transforms", "train_transforms"})

    validation_split: Annotated[float, Field(strict=True, ge=0, lt=1)] = Field(
        default=0.0,
        description="Share of the training samples set aside for validation, drawn with the seed; the test split stays untouched.",
    )
    limit: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Only the first N training samples, before the split."
    )
    transforms: tuple[Transform, ...] = Field(
        default=({"type": "ToImage"}, {"type": "ToDtype", "dtype": "float32", "scale": True}),
        validate_default=True,
        description="Done to every sample, in order.",
    )

    @property
    def facts(self) -> DatasetFacts:
        """Sizes, without looking at the data."""
        if self.type == "FakeData":
            size, image, classes = (self.arguments()[name] for name in ("size", "image_size", "num_classes"))
            return DatasetFacts(shape=tuple(image), num_classes=classes, train=size, test=max(1, size // 5))
        known = load()["datasets"][self.type]["facts"]
        return DatasetFacts(shape=tuple(known["shape"]), num_classes=known["num_classes"], train=known["train"], test=known["test"])

    @property
    def split_sizes(self) -> tuple[int, int]:
        """(training, validation) samples after `limit` and `validation_split`."""
        size = self.facts.train if self.limit is None else min(self.limit, self.facts.train)
        validation = int(size * self.validation_split)
        return size - validation, validation


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """One sample's shape [channels, height, width], the number of classes, and the sizes of the published splits."""

    shape: tuple[int, ...]
    num_classes: int
    train: int
    test: int


if TYPE_CHECKING:
    AnyDataset = Dataset
else:
    AnyDataset = union("datasets", base=Dataset)
