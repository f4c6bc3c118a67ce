"""The MNIST program that PyTorch's examples have, in other words: `python -m tests.bench.stock_mnist --data DIR` trains until an accuracy.

Their net, data, batch sizes, Adadelta and schedule, as they are where there is no GPU: no shuffling, no loading processes. Prints the test accuracy
after each epoch, and ends after the first that reaches what is asked for (or after their 14).
"""

from __future__ import annotations

import argparse

import torch
from torch import nn
from torch.nn.functional import nll_loss
from torch.utils.data import DataLoader

import worker.training.vision  # noqa: F401  # before torchvision

from torchvision import datasets, transforms  # isort: skip

EPOCHS = 14


def net() -> nn.Module:
    """Two convolutions, two linear layers, dropout before each of these."""
    return nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25), nn.Flatten()),
        *(nn.Linear(9216, 128), nn.ReLU(), nn.Dropout(0.5), nn.Linear(128, 10), nn.LogSoftmax(dim=1)),
    )


def trained(model: nn.Module, loader: DataLoader, optimizer: torch.optim.Optimizer) -> None:
    """One epoch; the loss is read every ten batches, as their log does."""
    model.train()
    for number, (inputs, labels) in enumerate(loader):
        optimizer.zero_grad()
        loss = nll_loss(model(inputs), labels)
        loss.backward()
        optimizer.step()
        if number % 10 == 0:
            loss.item()


def tested(model: nn.Module, loader: DataLoader) -> float:
    """Share of right answers; the loss is summed beside it, as theirs."""
    model.eval()
    loss, right, samples = 0.0, 0, 0
    with torch.no_grad():
        for inputs, labels in loader:
            outputs = model(inputs)
            loss += nll_loss(outputs, labels, reduction="sum").item()
            right += int((outputs.argmax(1) == labels).sum().item())
            samples += len(labels)
    return right / samples


def main() -> None:
    """Train until it is good enough."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", required=True, help="MNIST, unpacked, in torchvision's layout")
    parser.add_argument("--accuracy", type=float, default=0.99)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    train = DataLoader(datasets.MNIST(arguments.data, train=True, transform=transform), batch_size=64)
    test = DataLoader(datasets.MNIST(arguments.data, train=False, transform=transform), batch_size=1000)
    model = net()
    optimizer = torch.optim.Adadelta(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    for _ in range(EPOCHS):
        trained(model, train, optimizer)
        accuracy = tested(model, test)
        print(accuracy, flush=True)
        if accuracy >= arguments.accuracy:
            return
        schedule.step()


if __name__ == "__main__":
    main()
