"""Several processes that train one model, each with a part of every batch: what they agree on, and how their parts make the whole batch's step.

The batches are the textbook's. Process r of N takes the r-th of N neighbouring parts, whose sizes differ by one at most. DistributedDataParallel
averages the processes' gradients; each loss is weighed by the size of its part before, so that the average is the gradient of the whole batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from worker.training.deciding import Decision
from worker.training.drawing import Part, twin
from worker.training.tally import Tally

T = TypeVar("T")
Batch = tuple[torch.Tensor, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor], Any]
PATIENCE = timedelta(days=7)
"""Who waits for whom is the supervisor's business: it ends all of them when one is lost, or silent for too long."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Which of how many processes this is, and the file by which they find each other."""

    rank: int
    count: int
    store: str


class Ranks:
    """The processes of a training, seen by one of them. The first leads: it evaluates, decides, and alone tells and writes."""

    def __init__(self, *, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count
        self.part = Part()
        """Of the batch at hand."""
        self._replica: DistributedDataParallel | None = None

    @classmethod
    def join(cls, place: Place, *, cuda: bool) -> Ranks:
        """Meet the others. Everything stays on this machine: a file to meet at, the loopback interface, NVLink or PCIe."""
        for backend in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{backend}_SOCKET_IFNAME", "lo")
        store = dist.FileStore(place.store, place.count)  # type: ignore[attr-defined]  # torch's own documentation names it so
        backends = "cpu:gloo,cuda:nccl" if cuda else "gloo"
        dist.init_process_group(backends, store=store, rank=place.rank, world_size=place.count, timeout=PATIENCE)
        return cls(rank=place.rank, count=place.count)

    @property
    def leads(self) -> bool:
        """Whether this is the process that tells and writes."""
        return self.rank == 0

    def agreed(self, make: Callable[[], T]) -> T:
        """What the leader makes, in every process."""
        if self.count == 1:
            return make()
        told: list[Any] = [make() if self.leads else None]
        dist.broadcast_object_list(told, src=0, device=torch.device("cpu"))
        made: T = told[0]
        return made

    def fall_into_step(self, device: torch.device) -> None:
        """Go on from the leader's random state: it has evaluated meanwhile, and some layers draw even then."""
        if self.count == 1:
            return
        on_cuda = device.type == "cuda"
        state, cuda = self.agreed(lambda: (torch.get_rng_state(), torch.cuda.get_rng_state(device) if on_cuda else None))
        torch.set_rng_state(state)
        if cuda is not None:
            torch.cuda.set_rng_state(cuda, device)

    def leader_first(self, make: Callable[[], T]) -> T:
        """What each makes for itself, once the leader has: where the work of the first is found again by the others."""
        if self.leads:
            made = make()
        self.agreed(lambda: None)
        return made if self.leads else make()

    def replica(self, model: nn.Module, device: torch.device) -> nn.Module:
        """The model as training calls it. It has the very parameters and buffers of the model, which stays as it is: judged, saved, handed out."""
        if self.count == 1:
            return model
        copied = twin(model, self)
        if device.type == "cuda":  # on the CPU torch has no such form, and nobody but tests trains so there
            copied = nn.SyncBatchNorm.convert_sync_batchnorm(copied)  # type: ignore[no-untyped-call]  # torch ships it untyped
        self._replica = DistributedDataParallel(copied.train())
        return self._replica

    def parts(self, groups: list[torch.Tensor]) -> list[torch.Tensor]:
        """This process's samples of each batch."""
        return groups if self.count == 1 else [group[self._part(len(group)).rows] for group in groups]

    def in_parts(self, batches: Iterator[Batch], groups: list[torch.Tensor], *, accumulate: int, cut: bool) -> Iterator[Batch]:
        """The batches of these groups, or with `cut` their parts, each with `part` set; gradients are averaged after the last of each step."""
        return batches if self.count == 1 else self._in_parts(batches, groups, accumulate, cut=cut)

    def _in_parts(self, batches: Iterable[Batch], groups: list[torch.Tensor], accumulate: int, *, cut: bool) -> Iterator[Batch]:
        for done, (group, (inputs, labels)) in enumerate(zip(groups, batches, strict=True), 1):
            self.part = part = self._part(len(group))
            assert self._replica is not None  # noqa: S101  # whoever trains has called `replica`
            # what `no_sync()` does, without a second loop around the textbook's
            self._replica.require_backward_grad_sync = done % accumulate == 0 or done == len(groups)
            yield (inputs[part.rows], labels[part.rows]) if cut else (inputs, labels)

    def _part(self, size: int) -> Part:
        # of a batch that has not a sample for each, the others take the first one, and it counts for nothing
        if self.rank >= size:
            return Part(start=0, stop=1, size=size, share=0.0)
        every, more = divmod(size, self.count)
        start = self.rank * every + min(self.rank, more)
        stop = start + every + (self.rank < more)
        return Part(start=start, stop=stop, size=size, share=(stop - start) / size)

    def criterion(self, loss_fn: nn.Module) -> Loss:
        """The loss of a part, so weighed that the mean over the processes is the whole batch's."""
        if self.count == 1:
            return loss_fn
        is_sum = getattr(loss_fn, "reduction", "mean") == "sum"

        def weighed(outputs: torch.Tensor, targets: torch.Tensor) -> Any:
            share = float(self.part.share > 0) if is_sum else self.part.share
            return loss_fn(outputs, targets) * (share * self.count)

        return weighed

    def tally(self, *, decision: Decision | None, loss_is_sum: bool, accumulated: int) -> Tally:
        """What the batches of an epoch add up to, those of all processes together."""
        if self.count == 1:
            return Tally(decision=decision, loss_is_sum=loss_is_sum, accumulated=accumulated)
        return SharedTally(self, decision=decision, loss_is_sum=loss_is_sum, accumulated=accumulated)

    def leave(self) -> None:
        """Training is over; the leader goes on alone."""
        if self.count > 1:
            dist.destroy_process_group()


ALONE = Ranks()


class SharedTally(Tally):
    """A tally of whole batches: each process adds its part, and all have the same sums. What is added is never waited for by the host."""

    def __init__(self, ranks: Ranks, *, decision: Decision | None, loss_is_sum: bool, accumulated: int) -> None:
        super().__init__(decision=decision, loss_is_sum=loss_is_sum, accumulated=accumulated)
        self._ranks = ranks
        self._counts: list[torch.Tensor] = []

    def add(self, loss: torch.Tensor, outputs: torch.Tensor, labels: torch.Tensor) -> None:
        """Take this process's part in, its loss as `criterion` weighs it."""
        part = self._ranks.part
        told = torch.zeros(2, dtype=torch.float64, device=loss.device)
        told[0] = loss.detach() / self._ranks.count
        if self._decision is not None and part.share:
            told[1] = self._decision.right(outputs.detach(), labels)
        dist.all_reduce(told)
        self._losses.append(told[0])
        self._sizes.append(part.size)
        self._counts.append(told[1])
        self._fold_if_full()

    def _right(self) -> int:
        right, self._counts = int(torch.stack(self._counts).sum()), []
        return right
