"""What was found in a data set that somebody brought: its splits, samples and labels. Written once, when it is looked at."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from service.spec.verdict import Kept, Record

Layout = Literal["class_folders", "labelled_images", "images", "arrays", "table", "idx"]
Split = Literal["train", "validation", "test"]


class Flaw(Kept):
    """One thing that is wrong with data: the entry (a path inside, a column, a row), what is wrong, what would be right."""

    entry: str = ""
    code: str
    detail: str
    suggestion: str | None = None


class Column(Kept):
    """A column of a table. `values` are a categorical one's, sorted; `least` and `most` are a numeric one's."""

    name: str
    kind: Literal["numeric", "categorical", "text", "other"]
    missing: int = 0
    whole: bool = False
    """Whether every number is a whole one."""
    values: tuple[str, ...] | None = None
    least: float | None = None
    most: float | None = None
    mean: float | None = None
    std: float | None = None
    """What numbers are scaled by, where an earlier job's training rows said so; else this one's do."""


class Content(Kept):
    """A data set, as far as a spec depends on it.

    `shape` is one sample's, [channels, height, width] for images (None where they differ), and empty for a table, whose samples depend on
    the columns that a spec takes. `labels`: one class number each, a 0 or 1 for each of several, or numbers. `classes` names classes, labels
    or numbers, in their order.
    """

    layout: Layout
    top: str = "."
    """The folder where the data begin, below that of the unpacked upload."""
    places: dict[Split, tuple[str, ...]] = Field(default_factory=dict)
    """Where each split lies, from there: a folder, a table, the files or arrays of samples and labels. A single file is there whatever its name."""
    samples: Literal["images", "numbers", "rows"]
    shape: tuple[int | None, ...] = ()
    dtype: Literal["float32", "int64"] = "float32"
    """What models get samples that are numbers as: whole ones stay whole, as an Embedding wants them."""
    span: tuple[int, int] | None = None
    """The least and the most of whole ones."""
    labels: Literal["class", "several", "numbers"] | None = None
    labelled: bool = True
    """Whether samples have labels; without them a model can be asked, and none trained. Of a table that shows once a job says which columns
    they would be. Where an earlier job's model is asked, `labels` and `classes` are then that job's."""
    classes: tuple[str, ...] = ()
    order: tuple[int, ...] = ()
    """Where each class, label or number of the data stands among `classes`, which are then an earlier job's; empty where they are their own."""
    file_column: str | None = None
    label_column: str | None = None
    split_column: str | None = None
    """Of a table: what names the images, their class, each row's split."""
    sizes: dict[Split, int]
    """Samples of each split that the data bring; a single `train` is split by the job."""
    counts: dict[str, dict[Split, int]] = Field(default_factory=dict)
    """Samples of each class, by split."""
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    """Of the training samples, for each channel, on the scale that ToDtype with scale: true gives."""
    columns: tuple[Column, ...] = ()


class Inspected(Record):
    """What looking at an upload says: its content, or everything that is wrong with it."""

    content: Content | None = None
    flaws: tuple[Flaw, ...] = ()
    more_flaws: int = 0
    """Found, and not listed."""
