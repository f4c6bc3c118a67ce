"""The epochs of a whole job, those of earlier attempts included, and their event files for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from worker.training.facts import EpochDone

Row = Mapping[str, Any]
"""A finished epoch: epoch, step, and its numbers by name."""

_COUNTED = ("epoch", "step", "at")
"""What of a row says where it belongs; the rest are its scalars."""


@dataclass
class History:
    """One row for each finished epoch, as the service tells them. `told` are those of earlier attempts."""

    told: Sequence[Row] = ()
    _own: list[dict[str, Any]] = field(default_factory=list)

    def add(self, fact: EpochDone) -> None:
        """An epoch that this attempt has finished."""
        self._own.append(fact.row())

    def rows(self) -> list[Row]:
        """All of them in order; of an epoch that was repeated after a checkpoint, the row that was told first."""
        newest = max((row["epoch"] for row in self.told), default=0)
        return [*self.told, *(row for row in self._own if row["epoch"] > newest)]


def write_events(rows: Sequence[Row], results: Mapping[str, float], folder: Path, *, at: float) -> None:
    """Every scalar of every epoch at its step and wall time, and the results at the last step, as one file that TensorBoard reads."""
    from tensorboardX import SummaryWriter

    writer = SummaryWriter(logdir=str(folder))
    for row in rows:
        for name, value in row.items():
            if name not in _COUNTED:
                writer.add_scalar(name, value, row["step"], walltime=row.get("at"))
    for name, value in results.items():
        writer.add_scalar(name, value, rows[-1]["step"] if rows else 0, walltime=at)
    writer.close()
    # the library puts the machine's name and the process's number into the file's
    for path in folder.iterdir():
        path.rename(folder / "events.out.tfevents.0")
