"""A contact sheet: some training samples of each class, drawn small."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from service.spec.content import Content
from worker.ingest import arrays, idx
from worker.ingest.images import opened
from worker.ingest.samples import labelled

ROWS, COLUMNS = 20, 10
SIDE = 64
"""Pixels of a sample."""
NAME = 120
"""Pixels left for a class's name."""


def sheet(top: Path, content: Content) -> Image.Image:
    """The sheet of a data set of images: a row for each of the first classes."""
    picked: dict[int, list[Image.Image]] = {at: [] for at in range(min(len(content.classes) or 1, ROWS))}
    for label, image in _pairs(top, content, picked):
        picked[label].append(image)
    page = Image.new("RGB", (NAME + COLUMNS * (SIDE + 2), len(picked) * (SIDE + 2)), "white")
    drawing = ImageDraw.Draw(page)
    for at, row in picked.items():
        name = content.classes[at] if content.classes and content.labels != "numbers" else "samples"
        drawing.text((4, at * (SIDE + 2) + SIDE // 2 - 6), name[:18].encode("ascii", "replace").decode(), fill="black")
        for column, image in enumerate(row):
            small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST if image.width < SIDE else Image.Resampling.BILINEAR)
            page.paste(small, (NAME + column * (SIDE + 2), at * (SIDE + 2)))
    return page


def _pairs(top: Path, content: Content, picked: dict[int, list[Image.Image]]) -> Iterator[tuple[int, Image.Image]]:
    """(row, image) of each sample that there is room for."""
    if content.layout in ("class_folders", "labelled_images", "images"):
        for each in labelled(top, content)["train"]:
            at = _row(each.label, content)
            if at in picked and len(picked[at]) < COLUMNS:
                yield at, opened(top / each.file)
        return
    if content.layout == "idx":
        folder = idx.idx_folder(top)
        samples, labels = (idx.read(folder / name) for name in idx.names_of("train"))
    else:
        samples, labels = arrays.splits_of(arrays.read_arrays(top))["train"]
        samples = arrays.channels_last(samples)
    for sample, label in zip(samples, labels, strict=True):
        at = _row(int(label) if np.ndim(label) == 0 and content.labels == "class" else tuple(np.atleast_1d(label).tolist()), content)
        if at in picked and len(picked[at]) < COLUMNS:
            yield at, Image.fromarray(np.ascontiguousarray(sample.squeeze(-1) if sample.ndim == 3 and sample.shape[-1] == 1 else sample))


def _row(label: int | tuple[float, ...], content: Content) -> int:
    if isinstance(label, int):
        return label
    if content.labels == "several":
        return next((at for at, value in enumerate(label) if value == 1), -1)
    return 0
