"""What an evaluation keeps of its answers besides sums: all of them as a table on the disk, and counts for each class or label.

Each sees every batch, and holds no more than a fixed number of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import torch

from service.spec.job import JobSpec
from worker.training.deciding import Decision

NUMBERS_AT_ONCE = 2**20
"""A group of rows of the table: its numbers wait in memory until there are so many."""
MOST_COLUMNS = 1024
"""An output of more numbers is one column of lists."""
_MANY = {"output": "outputs", "probability": "probabilities"}


class Answers(Protocol):
    """Something that looks at an evaluation's batches."""

    def see(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """The next batch: outputs [B, ...], labels int64 [B]."""


class Predictions:
    """Every answer as a row of a Parquet file: index, label (where there is one), predicted, and a column for each class's probability, or each number of the output."""

    def __init__(self, path: Path, spec: JobSpec, *, classes: list[str]) -> None:
        self._path, self._spec, self._classes = path, spec, classes
        self._rows = 0
        self._waiting: list[dict[str, Any]] = []
        self._elements = 0
        self._writer: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def see(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Take a batch in; many batches make a group of rows."""
        self._waiting.append(self._columns(outputs.float().cpu(), labels.cpu()))
        self._elements += outputs.numel()
        if self._elements >= NUMBERS_AT_ONCE:
            self._flush()

    def _columns(self, outputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        places = range(self._rows, self._rows + len(labels))
        self._rows += len(labels)
        columns: dict[str, Any] = {"index": torch.tensor(places).numpy()}
        if self._spec.dataset.is_labelled:
            columns |= self._labels(labels)
        if self._spec.dataset.is_classification:
            columns["predicted"] = outputs.argmax(1).numpy()
        shares = probabilities(outputs, self._spec.loss.type)
        name, numbers = ("output", outputs.flatten(1)) if shares is None else ("probability", shares.flatten(1))
        if numbers.shape[1] > MOST_COLUMNS:
            return columns | {_MANY[name]: list(numbers.numpy())}
        return columns | self._each(name, numbers)

    def _labels(self, labels: torch.Tensor) -> dict[str, Any]:
        return {"label": labels.numpy()} if labels.dim() == 1 else self._each("label", labels)

    def _each(self, name: str, numbers: torch.Tensor) -> dict[str, Any]:
        """A column for each of numbers [B, N], with the class's name where there are so many."""
        named = self._classes if len(self._classes) == numbers.shape[1] else [str(at) for at in range(numbers.shape[1])]
        return {f"{name}_{each}": numbers[:, at].contiguous().numpy() for at, each in enumerate(named)}

    def _flush(self) -> None:
        import pyarrow as pa
        from pyarrow import parquet

        if not self._waiting:
            return
        batches = [pa.RecordBatch.from_pydict(columns) for columns in self._waiting]
        if self._writer is None:
            self._writer = parquet.ParquetWriter(self._path, batches[0].schema)
        self._writer.write_table(pa.Table.from_batches(batches))
        self._waiting, self._elements = [], 0


def probabilities(outputs: torch.Tensor, loss: str) -> torch.Tensor | None:
    """What a loss takes the outputs [B, ...] for, as probabilities; None where it takes them for something else."""
    match loss:
        case "CrossEntropyLoss":
            return outputs.softmax(1)
        case "NLLLoss":
            return outputs.exp()
        case "BCEWithLogitsLoss" | "MultiLabelSoftMarginLoss":
            return outputs.sigmoid()
        case "BCELoss":
            return outputs
    return None


def each_class(confusion: torch.Tensor, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Precision, recall, F1 and support of every class, of int64 [classes, classes], rows true; None where there is nothing to divide by."""
    right, true, said = confusion.diagonal().tolist(), confusion.sum(1).tolist(), confusion.sum(0).tolist()
    for at in range(len(confusion)):
        yield {"class": classes[at] if at < len(classes) else str(at)} | _scored(right[at], true[at], said[at])


def _scored(right: int, true: int, said: int) -> dict[str, Any]:
    return {
        "precision": right / said if said else None,
        "recall": right / true if true else None,
        "f1": 2 * right / (true + said) if true + said else None,
        "support": true,
    }


class Labels:
    """Counts for each of several labels: how often it holds, was said to hold, and both."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._counts: torch.Tensor | None = None

    def see(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Outputs and labels [B, labels]."""
        said, true = self._decision.chosen(outputs), labels.bool()
        counts = torch.stack([(said & true).sum(0), true.sum(0), said.sum(0)])
        self._counts = counts if self._counts is None else self._counts + counts

    def each(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Precision, recall, F1 and support of every label; None where there is nothing to divide by."""
        counts = [] if self._counts is None else self._counts.T.tolist()
        return [{"label": names[at] if at < len(names) else str(at)} | _scored(*each) for at, each in enumerate(counts)]


BINS = 1_000
"""Probabilities are counted in so many steps."""


class Thresholds:
    """How probable a yes was said to be, of samples that are one and of those that are none: counts in steps from 0 to 1."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision
        self._counts: torch.Tensor | None = None

    def see(self, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Outputs [B, 1], labels [B]."""
        steps = (self._decision.probabilities(outputs.float()).nan_to_num() * BINS).long().clamp(0, BINS - 1)
        counts = torch.bincount(labels.long() * BINS + steps, minlength=2 * BINS).view(2, BINS)
        self._counts = counts if self._counts is None else self._counts + counts

    def counts(self) -> torch.Tensor:
        """int64 [2, steps]: of a no, of a yes."""
        return torch.zeros(2, BINS, dtype=torch.int64) if self._counts is None else self._counts.cpu()
