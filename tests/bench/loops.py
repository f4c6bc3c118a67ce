"""The MNIST perceptron by hand, twice: as the textbook has it, and as fast as plain PyTorch lets one write it. `python -m tests.bench.loops`."""

from __future__ import annotations

import argparse
import gzip
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader

import worker.training.vision  # noqa: F401  # before torchvision
from tests.bench.ground import DATA
from tests.bench.rivals import serve

from torchvision import datasets  # isort: skip
from torchvision.transforms import v2  # isort: skip

BATCH = 64
SEED = 0
SAMPLES = 60_000
MEAN, STD = 0.1307, 0.3081
SPEC: dict[str, Any] = {
    "seed": SEED,
    "dataset": {
        "type": "MNIST",
        "transforms": [
            "ToImage",
            {"type": "ToDtype", "dtype": "float32", "scale": True},
            {"type": "Normalize", "mean": [MEAN], "std": [STD]},
        ],
    },
    "dataloader": {"batch_size": BATCH},
    "model": {
        "type": "Sequential",
        "layers": ["Flatten", {"type": "Linear", "out_features": 128}, "ReLU", {"type": "Linear", "out_features": 10}],
    },
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
}
"""The same training as a job, but for its epochs."""


def unpacked() -> Path:
    """MNIST where torchvision reads it."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (DATA / "MNIST" / "raw").glob("*.gz"):
        (raw / path.stem).write_bytes(gzip.decompress(path.read_bytes()))
    return folder


class Perceptron:
    """784-128-10, SGD."""

    def __init__(self) -> None:
        torch.manual_seed(SEED)
        self.model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
        self.loss_fn = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.01)

    def save(self, path: str) -> None:
        """The weights as safetensors."""
        save_file(self.model.state_dict(), path)


def textbook(workers: int) -> tuple[Perceptron, Callable[[], float]]:
    """Torchvision's data set and transforms, a DataLoader, `.item()` each step; and what trains an epoch of it, in seconds."""
    net, root = Perceptron(), unpacked()
    transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize([MEAN], [STD])])
    data = datasets.MNIST(root, train=True, transform=transform)
    shutil.rmtree(root)  # it is in memory
    loader = DataLoader(data, batch_size=BATCH, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(SEED))

    def epoch() -> float:
        started = time.perf_counter()
        net.model.train()
        total, right = 0.0, 0
        for inputs, labels in loader:
            outputs = net.model(inputs)
            loss = net.loss_fn(outputs, labels)
            loss.backward()
            net.optimizer.step()
            net.optimizer.zero_grad()
            total += loss.item() * len(labels)
            right += (outputs.argmax(1) == labels).sum().item()
        return time.perf_counter() - started

    return net, epoch


def normalised() -> tuple[torch.Tensor, torch.Tensor]:
    """The training images as float32 [60000, 1, 28, 28], with the values that the spec's transforms give each; and the labels."""
    root = unpacked()
    data = datasets.MNIST(root, train=True)
    shutil.rmtree(root)  # it is in memory
    return v2.functional.normalize(data.data.unsqueeze(1).float().mul_(1 / 255), [MEAN], [STD]), data.targets


def by_hand() -> tuple[Perceptron, Callable[[], float]]:
    """Everything normalised beforehand in one tensor, batches by index, sums kept as tensors; and what trains an epoch of it, in seconds."""
    net = Perceptron()
    images, labels = normalised()
    generator = torch.Generator().manual_seed(SEED)

    def order() -> Iterable[torch.Tensor]:
        """What DataLoader draws in an epoch, in its order."""
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        drawn = torch.randperm(SAMPLES, generator=generator)
        torch.randperm(SAMPLES, generator=generator)
        return torch.split(drawn, BATCH)

    def epoch() -> float:
        started = time.perf_counter()
        net.model.train()
        total, right = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.int64)
        for indices in order():
            inputs, targets = images[indices], labels[indices]
            outputs = net.model(inputs)
            loss = net.loss_fn(outputs, targets)
            loss.backward()
            net.optimizer.step()
            net.optimizer.zero_grad(set_to_none=True)
            total += loss.detach() * len(targets)
            right += (outputs.detach().argmax(1) == targets).sum()
        total.item(), right.item()
        return time.perf_counter() - started

    return net, epoch


def main() -> None:
    """Serve one of the two."""
    parser = argparse.ArgumentParser()
    parser.add_argument("loop", choices=["textbook", "by_hand"])
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    net, epoch = textbook(arguments.workers) if arguments.loop == "textbook" else by_hand()
    serve(epoch, net.save)


if __name__ == "__main__":
    main()
