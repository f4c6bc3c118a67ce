"""The MNIST perceptron by Ignite, as its quick start trains one: `python -m tests.bench.by_ignite --threads N`.

Each answer is the mean over the epochs of one `trainer.run`, from EPOCH_STARTED to EPOCH_COMPLETED. Its quick start evaluates the whole training
set once more for the epoch's loss and accuracy; here they are metrics of the trainer itself, which costs less.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from ignite.engine import Events, create_supervised_trainer
from ignite.metrics import Accuracy, Average
from torch.utils.data import DataLoader, TensorDataset

from tests.bench.loops import BATCH, SEED, Perceptron, normalised
from tests.bench.rivals import serve


def main() -> None:
    """Serve it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True, help="of one run")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    net = Perceptron()
    loader = DataLoader(TensorDataset(*normalised()), batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(SEED))
    trainer = create_supervised_trainer(
        net.model, net.optimizer, net.loss_fn, output_transform=lambda _, labels, outputs, loss: (outputs, labels, loss.item())
    )
    Accuracy(output_transform=lambda output: output[:2]).attach(trainer, "train_accuracy")
    Average(output_transform=lambda output: output[2]).attach(trainer, "train_loss")
    seconds: list[float] = []
    started = 0.0

    @trainer.on(Events.EPOCH_STARTED)
    def start() -> None:
        nonlocal started
        started = time.perf_counter()

    @trainer.on(Events.EPOCH_COMPLETED)
    def end() -> None:
        seconds.append(time.perf_counter() - started)

    def epoch() -> float:
        seconds.clear()
        trainer.run(loader, max_epochs=arguments.epochs)
        assert len(seconds) == arguments.epochs
        return statistics.mean(seconds)

    serve(epoch, net.save)


if __name__ == "__main__":
    main()
