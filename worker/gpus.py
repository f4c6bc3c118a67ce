"""The GPUs that this worker may use, as NVIDIA's driver shows them, and which of them are taken. torch is not asked: a process that has set CUDA up cannot fork trainers, and would hold memory of each."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from service.jobs.ports import GpuLoad

ASKED_SECONDS = 10
_FIELDS = "index,uuid,name,memory.total,memory.used,utilization.gpu"
_GPU = re.compile(r"^GPU (\d+): (.+) \(UUID: (GPU-[^)]+)\)")
_SLICE = re.compile(r"^\s+MIG (\S+)\s+Device\s+\d+: \(UUID: (MIG-[^)]+)\)")
_GIBIBYTES = re.compile(r"\.(\d+)gb")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """One that a trainer can be given: a GPU, or a slice of one (MIG). `id` is the driver's name for it, which no order of counting changes."""

    id: str
    index: int
    """The GPU's, as nvidia-smi counts, which a slice shares with its neighbours."""
    name: str
    memory_bytes: int | None

    @property
    def is_slice(self) -> bool:
        """Whether it is a part of a GPU: a process can use one of these, and no more."""
        return self.id.startswith("MIG-")


def visible(environment: Mapping[str, str]) -> list[Gpu] | None:
    """Those that nvidia-smi lists, but for what CUDA_VISIBLE_DEVICES and NVIDIA_VISIBLE_DEVICES take away; None where it does not answer."""
    listed, sizes = _asked("-L"), _asked(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
    if listed is None or sizes is None:
        return None
    found = of_list(listed, {load.index: load for load in of_table(sizes).values()})
    return chosen(chosen_by_the_container(found, environment.get("NVIDIA_VISIBLE_DEVICES")), environment.get("CUDA_VISIBLE_DEVICES"))


def loads(gpus: Sequence[Gpu]) -> tuple[GpuLoad, ...]:
    """How busy these GPUs are now, each once; nothing where nvidia-smi does not answer."""
    told = _asked(f"--query-gpu={_FIELDS}", "--format=csv,noheader,nounits")
    indices = {gpu.index for gpu in gpus}
    return tuple(load for load in of_table(told or "").values() if load.index in indices)


def _asked(*arguments: str) -> str | None:
    try:
        return subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, check=True, timeout=ASKED_SECONDS).stdout
    except (OSError, subprocess.SubprocessError):
        return None


def of_list(listed: str, loads: Mapping[int, GpuLoad]) -> list[Gpu]:
    """What `nvidia-smi -L` lists: a GPU that is cut into slices is these alone."""
    found: list[Gpu] = []
    for line in listed.splitlines():
        if whole := _GPU.match(line):
            index = int(whole[1])
            size = loads[index].memory_bytes if index in loads else None
            found.append(Gpu(id=whole[3], index=index, name=whole[2], memory_bytes=size))
        elif (cut := _SLICE.match(line)) and found:
            around = found[-1]
            if not around.is_slice:
                found.pop()
            size = int(gigabytes[1]) * 2**30 if (gigabytes := _GIBIBYTES.search(cut[1])) else None
            name = around.name.partition(" MIG ")[0]
            found.append(Gpu(id=cut[2], index=around.index, name=f"{name} MIG {cut[1]}", memory_bytes=size))
    return found


def of_table(told: str) -> dict[int, GpuLoad]:
    """What nvidia-smi tells of each GPU, by index. A number that it cannot tell is `[N/A]` there, and None here."""
    found = {}
    for line in told.splitlines():
        parts = [each.strip() for each in line.split(",")]
        if len(parts) != len(_FIELDS.split(",")) or not parts[0].isdecimal():
            continue
        index, _, name, total, used, busy = parts
        found[int(index)] = GpuLoad(
            index=int(index),
            name=name,
            memory_bytes=_mebibytes(total),
            memory_used_bytes=_mebibytes(used),
            utilisation_percent=int(busy) if busy.isdecimal() else None,
        )
    return found


def _mebibytes(text: str) -> int | None:
    return int(text) * 2**20 if text.isdecimal() else None


def chosen(gpus: Sequence[Gpu], named: str | None) -> list[Gpu]:
    """What CUDA_VISIBLE_DEVICES leaves (CUDA C++ Programming Guide, "CUDA Environment Variables"): numbers, or names from their beginning on.

    In that order, up to the first that there is not.
    """
    if named is None:
        return list(gpus)
    found: list[Gpu] = []
    for word in (each.strip() for each in named.split(",")):
        gpu = _named(gpus, word)
        if gpu is None or gpu in found:
            break
        found.append(gpu)
    return found


def _named(gpus: Sequence[Gpu], word: str) -> Gpu | None:
    if word.isdecimal():
        return next((gpu for gpu in gpus if gpu.index == int(word)), None)
    matching = [gpu for gpu in gpus if word and gpu.id.startswith(word)]
    return matching[0] if len(matching) == 1 else None


def chosen_by_the_container(gpus: Sequence[Gpu], named: str | None) -> list[Gpu]:
    """What NVIDIA_VISIBLE_DEVICES leaves. It speaks to the container's runtime, which has hidden the others and counted anew by now.

    So `all` and `void` say nothing, numbers only where more GPUs are seen than they name.
    """
    words = [each.strip() for each in (named or "all").split(",") if each.strip()]
    if words == ["none"]:
        return []
    if words in (["all"], ["void"]) or len({gpu.index for gpu in gpus}) <= len(words):
        return list(gpus)
    kept = {gpu.id for word in words for gpu in gpus if (gpu.index == int(word) if word.isdecimal() else gpu.id.startswith(word))}
    return [gpu for gpu in gpus if gpu.id in kept]


class Gauges:
    """How busy GPUs are, as they were at the last look: a look takes a good part of a second, and no beat waits for it."""

    def __init__(self, gpus: Sequence[Gpu]) -> None:
        self._gpus = gpus
        self._latest: tuple[GpuLoad, ...] = ()

    def look(self) -> None:
        """Take a new one."""
        self._latest = loads(self._gpus)

    def latest(self) -> tuple[GpuLoad, ...]:
        """The last one."""
        return self._latest


class GpuPool:
    """Which GPUs of a worker its attempts have. With more slots than GPUs a GPU is shared by as many as it takes, evenly."""

    def __init__(self, gpus: Sequence[Gpu], *, slots: int) -> None:
        self.gpus = tuple(gpus)
        self.claiming = threading.Lock()
        """Held from before a claim until what it got is taken."""
        self._room = {gpu.id: max(1, (slots + at) // len(gpus)) for at, gpu in enumerate(reversed(gpus))}

    @property
    def most(self) -> int:
        """How many one job may have."""
        return min(1, len(self.gpus)) if any(gpu.is_slice for gpu in self.gpus) else len(self.gpus)

    @property
    def free(self) -> int:
        """How many a job could have now."""
        return min(self.most, sum(room > 0 for room in self._room.values()))

    @property
    def room(self) -> int:
        """How many jobs of one GPU could start now."""
        return sum(self._room.values())

    @contextmanager
    def held(self, ids: Sequence[str]) -> Iterator[None]:
        """These are given back when the block is left."""
        try:
            yield
        finally:
            with self.claiming:
                for each in ids:
                    self._room[each] += 1

    def take(self, count: int) -> tuple[str, ...]:
        """So many, of those with the most room, `claiming` being held. Whoever claimed asked for no more than are free."""
        ids = sorted((gpu.id for gpu in self.gpus if self._room[gpu.id]), key=lambda each: -self._room[each])[:count]
        for each in ids:
            self._room[each] -= 1
        return tuple(ids)
