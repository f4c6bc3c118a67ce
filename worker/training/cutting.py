"""How many batches are made at once, and where each of them then lies in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch


def by_bytes(groups: Sequence[torch.Tensor], sample_bytes: int, *, most: int) -> Iterator[Sequence[torch.Tensor]]:
    """Neighbouring groups that have so many bytes together at most, or one: what is done to many batches at once costs each of them little."""
    count = max(1, most // max(1, sample_bytes * max(map(len, groups), default=1)))
    for at in range(0, len(groups), count):
        yield groups[at : at + count]


def aligned(batch: torch.Tensor, *, to: int) -> torch.Tensor:
    """The batch where an allocation of its own would lie: maths libraries may give other bits where memory begins elsewhere."""
    return batch if batch.data_ptr() % to == 0 else batch.clone()
