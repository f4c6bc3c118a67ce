"""Going on with batches of half the size: from the same sample, with the same steps but for rounding; and what memory running out looks like."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from service.spec.job import JobSpec
from tests.checking import resolved
from worker.failing import failure
from worker.remedies import halved
from worker.training.build import mixing_modules
from worker.training.checkpoint import restore, snapshot, write
from worker.training.facts import EpochDone, StepDone
from worker.training.loop import Run, train
from worker.training.preparing import prepare

BODY = {
    "seed": 2,
    "dataset": {"type": "Digits", "limit": 150},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9},
    "epochs": 2,
    "resources": {"threads": 1},
}


def fresh(spec: JobSpec) -> Run:
    """A run at its start."""
    return prepare(spec, datasets_dir=Path(), resume=None)


def stopped_at(step: int, spec: JobSpec, folder: Path) -> Path:
    """A checkpoint taken after so many steps."""
    run = fresh(spec)
    next(fact for fact in train(run) if isinstance(fact, StepDone) and fact.step == step)
    write(snapshot(run), folder)
    return folder


@pytest.mark.parametrize("size", [16, 15])
@pytest.mark.parametrize("step", [3, 6, 10, 14])
def test_a_checkpoint_of_the_old_size_goes_on_at_the_same_sample(size: int, step: int, tmp_path: Path):
    """No sample of the epoch comes twice, or is missed but for one alone; with an even size the weights are the old size's, but for rounding."""
    spec = resolved(BODY | {"dataloader": {"batch_size": size}})
    smaller = JobSpec.model_validate(halved(spec.model_dump(mode="json")))
    whole, resumed = fresh(spec), fresh(smaller)
    restore(resumed, stopped_at(step, spec, tmp_path / "checkpoint"))

    told = [fact for fact in train(resumed) if isinstance(fact, EpochDone)]
    expected = [fact for fact in train(whole) if isinstance(fact, EpochDone)][-len(told) :]

    assert resumed.spec.dataloader.batch_size == size // 2
    seen = [round(fact.samples_per_second * fact.train_seconds) for fact in told]
    assert seen == [149 if (size, step) == (15, 6) else 150, 150][-len(told) :]
    if size == 16:
        assert [fact.step for fact in told] == [fact.step for fact in expected]
        for name, tensor in whole.model.state_dict().items():
            torch.testing.assert_close(resumed.model.state_dict()[name], tensor, rtol=1e-4, atol=1e-5)


def test_torchs_own_allocator_is_understood():
    """The CPU's has no class of its own: a real one, of an allocation that no machine grants; and Python's."""
    for allocate in (lambda: torch.empty(1 << 60), lambda: bytearray(1 << 60)):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert failure(caught.value, custom=False).code == "out_of_memory"


def test_memory_that_is_limited_runs_out_in_an_operator():
    """A matrix product under RLIMIT_AS: what torch raises is told as out_of_memory."""
    program = (
        "import resource, torch\nfrom worker.failing import failure\nhalf = torch.ones(20000, 20000)\n"
        f"resource.setrlimit({resource.RLIMIT_AS}, (int(open('/proc/self/statm').read().split()[0]) * 4096 + 2**28,) * 2)\n"
        "try:\n    half @ half\nexcept Exception as error:\n    print(failure(error, custom=False).code)\n"
    )

    told = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=120).stdout

    assert told == "out_of_memory\n"


def test_a_lost_process_of_the_dataloader_is_infrastructure():
    """Killed, by the kernel or by hand: torch's sentence for it."""
    error = RuntimeError("DataLoader worker (pid 17) is killed by signal: Killed. ")

    assert failure(error, custom=False).code == "trainer_lost"


@pytest.mark.parametrize(
    ("module", "names"),
    [
        (nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)), []),
        (nn.Sequential(nn.BatchNorm2d(2), nn.Sequential(nn.Dropout())), ["BatchNorm2d", "Dropout"]),
        (nn.LSTM(2, 2, num_layers=2, dropout=0.1), ["LSTM"]),
        (nn.LSTM(2, 2), []),
        (nn.RReLU(), ["RReLU"]),
    ],
)
def test_modules_that_see_the_batch_are_named(module: nn.Module, names: list[str]):
    """With smaller batches they compute something else."""
    assert mixing_modules(module) == names
