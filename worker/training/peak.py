"""The most memory that a training held: what the estimate is judged by, and the job's page shows."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

from worker.training.loop import Run


class PeakMemory:
    """The most memory that training held, weights and their average included. Of several processes the leader's.

    On a GPU it is what torch's allocator gave out there, the data that it holds included; else what the process had resident, on Linux only.
    """

    def __init__(self, run: Run) -> None:
        self._device = run.device
        self._before: int | None = None
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark starts again
            kept = [run.model] if run.average is None else [run.model, run.average.module]
            weights = sum(tensor.numel() * tensor.element_size() for each in kept for tensor in each.state_dict().values())
            self._before = _resident("VmRSS") - weights

    def metrics(self) -> dict[str, float]:
        """`peak_memory_bytes`, where it can be told."""
        if self._device.type == "cuda":
            return {"peak_memory_bytes": float(torch.cuda.max_memory_allocated(self._device))}
        return {} if self._before is None else {"peak_memory_bytes": float(max(0, _resident("VmHWM") - self._before))}


def _resident(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024
