"""Rows of a table as numbers: what is unknown filled in and all of it scaled as the training rows say, words as a 1 among 0s.

`train.py` carries `fitted` and `as_numbers` as they stand here. A table's raw rows are float64 [rows, columns]: numbers, NaN where one is
unknown; of words their place among the column's values, -1 where unknown. `widths` has the number of a column's words, 0 for numbers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from service.spec.content import Content
from service.spec.dataset import Dataset
from service.spec.tables import Columns, taken
from worker.training.splits import Packed, Split, Splits


def fitted(rows: Any, widths: list[int]) -> tuple[Any, Any]:
    """Mean and standard deviation of the known numbers of each column; 0 and 1 for words, and 1 where all numbers are equal."""
    numeric = np.array(widths) == 0
    known = ~np.isnan(rows) & numeric
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0.0).sum(axis=0) / count
    std = np.sqrt(np.where(known, (rows - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, np.where(std > 0, std, 1.0)


def as_numbers(rows: Any, mean: Any, std: Any, widths: list[int]) -> Any:
    """Rows as float32 [rows, features]: unknown numbers are the mean, and unknown words all 0."""
    parts = []
    for at, width in enumerate(widths):
        column = rows[:, at]
        if width:
            parts.append((column[:, None] == np.arange(width)).astype(np.float64))
        else:
            parts.append(((np.where(np.isnan(column), mean[at], column) - mean[at]) / std[at])[:, None])
    return np.concatenate(parts, axis=1).astype(np.float32)


def widths_of(columns: Columns) -> list[int]:
    """How many words each feature column has; 0 for numbers."""
    return [len(column.values or ()) if column.kind == "categorical" else 0 for column in columns.features]


def scale_of(columns: Columns) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each feature column, as an earlier job had them; 0 and 1 for words."""
    return [column.mean or 0.0 for column in columns.features], [1.0 if column.std is None else column.std for column in columns.features]


def prepared(splits: Splits, dataset: Dataset, content: Content) -> Splits:
    """The splits with their rows as numbers, by what the training rows say; and what that was, to go with the model."""
    columns = taken(content, dataset.arguments())
    widths = widths_of(columns)
    raw = {name: _taken(getattr(splits, name)) for name in ("train", "validation", "test")}
    mean, std = scale_of(columns) if columns.is_scaled else fitted(raw["train"].images.numpy(), widths)
    made = {name: Packed(torch.from_numpy(as_numbers(each.images.numpy(), mean, std, widths)), each.labels) for name, each in raw.items()}
    return replace(
        splits, train=made["train"], validation=made["validation"], test=made["test"], preprocessing=_described(columns, mean, std)
    )


def _taken(split: Split) -> Packed:
    """The rows of a split, in its order, and no others."""
    assert isinstance(split, Packed)  # noqa: S101  # tables are held in memory
    return split.alone()


def _described(columns: Columns, mean: Any, std: Any) -> dict[str, Any]:
    """What has to be done to a row before the model takes it, and what its outputs are."""
    features = [
        {"name": column.name, "kind": "categorical", "values": list(column.values or ())}
        if column.kind == "categorical"
        else {"name": column.name, "kind": "numeric", "mean": float(mean[at]), "std": float(std[at])}
        for at, column in enumerate(columns.features)
    ]
    return {"features": features, "labels": {"kind": columns.kind, "names": list(columns.classes)}}
