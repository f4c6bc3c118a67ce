"""The MNIST perceptron by Ignite, as its quick start trains one: `python -m tests.bench.by_ignite --threads N`.

Each answer is the mean over the epochs of one `trainer.run`, from EPOCH_STARTED to EPOCH_COMPLETED. Its quick start evaluates the whole training
set once more for the epoch's Loss and Accuracy; here these are attached to the trainer itself, which costs less and counts what a job counts.
"""

from __future__ import annotations

import argparse
import statistics
import time

import torch
from ignite.engine import Events, create_supervised_trainer
from ignite.metrics import Accuracy, Loss
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
        net.model, net.optimizer, net.loss_fn, output_transform=lambda _inputs, labels, outputs, _loss: (outputs, labels)
    )
    Accuracy().attach(trainer, "train_accuracy")
    Loss(net.loss_fn).attach(trainer, "train_loss")  # the mean over samples; Average would be over batches, of which the last is smaller
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
