"""Real colour images of 32x32, and the textbook's loop over them with a small CNN: `python -m tests.bench.colour`."""

from __future__ import annotations

import argparse
import io
import tarfile
import time
from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset

import worker.training.vision  # noqa: F401  # before torchvision
from tests.bench.arms.sharing import CNN
from tests.bench.ground import DATA
from tests.bench.rivals import serve
from worker.training.splits import Packed

from torchvision.transforms import v2  # isort: skip

BATCH = 128
TRAIN = 10_000


@cache
def images() -> tuple[Packed, Packed]:
    """10,000 training and 2,000 test images of ten classes (CIFAR-10's, as JPEG)."""
    found: dict[str, tuple[list[np.ndarray], list[int]]] = {"train": ([], []), "test": ([], [])}
    with tarfile.open(DATA / "cifar10-jpeg-12k.tar") as tar:
        members = sorted((each for each in tar if each.isfile()), key=lambda each: each.name)
        classes = sorted({each.name.split("/")[1] for each in members})
        for each in members:
            part, name, _ = each.name.split("/")
            file = tar.extractfile(each)
            assert file is not None
            found[part][0].append(np.asarray(Image.open(io.BytesIO(file.read())).convert("RGB")))
            found[part][1].append(classes.index(name))
    train, test = (
        Packed(torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels))
        for pixels, labels in found.values()
    )
    return train, test


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """As torchvision's CIFAR10 holds them: arrays in memory, a PIL image for each sample, then its transform."""

    def __init__(self) -> None:
        self.samples = images()[0]
        self.transform = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image, label = self.samples[index]
        return self.transform(image), label


def textbook(workers: int) -> Callable[[], float]:
    """The loop in float32; what trains an epoch of it, in seconds."""
    torch.manual_seed(0)
    widths = [3, 32, 64, 128]
    layers: list[nn.Module] = []
    for before, width in pairwise(widths):
        layers += [nn.Conv2d(before, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if width < widths[-1] else []
    model = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    loss_fn = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=CNN["optimizer"]["lr"], momentum=CNN["optimizer"]["momentum"])
    loader = DataLoader(Pictures(), batch_size=BATCH, shuffle=True, num_workers=workers)

    def epoch() -> float:
        started = time.perf_counter()
        model.train()
        total, right = 0.0, 0
        for inputs, labels in loader:
            outputs = model(inputs)
            loss = loss_fn(outputs, labels)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item() * len(labels)
            right += (outputs.argmax(1) == labels).sum().item()
        return time.perf_counter() - started

    return epoch


def main() -> None:
    """Serve the loop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--workers", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    serve(textbook(arguments.workers), lambda _: None)


if __name__ == "__main__":
    main()
