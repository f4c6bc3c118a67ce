"""The files below a folder as samples and labels, in the order that train.py reads them: what trainers pack, and contact sheets show."""

from __future__ import annotations

from pathlib import Path

from service.spec.content import Content, Split
from worker.ingest import images, labels
from worker.ingest.flaws import Flaws
from worker.ingest.images import Labelled


def labelled(top: Path, content: Content) -> dict[Split, list[Labelled]]:
    """Every image of a folder that was looked at before, by split."""
    flaws = Flaws()
    if content.layout == "images":
        found = images.loose(top, flaws)
    elif content.layout == "class_folders":
        _, found = images.in_class_folders(top, flaws)
    else:
        from worker.ingest import tables

        table = tables.label_table(top)
        *_, found = labels.in_a_table(top, tables.as_columns(tables.read_table(table)), table.name, flaws)
    splits: dict[Split, list[Labelled]] = {split: [] for split in content.sizes}
    for each in found:
        splits[each.split].append(each)
    return splits
