"""The MNIST perceptron by Lightning, as its documentation trains one: `python -m tests.bench.by_lightning --threads N`.

Each answer is the mean over the epochs of one `Trainer.fit`, from the module's `on_train_epoch_start` to its `on_train_epoch_end`: what the
Trainer does around an epoch (setting up, the epoch's means, its checkpoint, its CSV logger) is outside the clock, in Lightning's favour.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
import warnings
from typing import Any

import torch
from torch.utils.data import DataLoader, TensorDataset

from tests.bench.loops import BATCH, SEED, Perceptron, normalised  # before lightning: torchmetrics imports torchvision
from tests.bench.rivals import serve

import lightning  # isort: skip
from torchmetrics.classification import MulticlassAccuracy  # isort: skip


class Classifier(lightning.LightningModule):
    """784-128-10, SGD; loss and accuracy are logged once per epoch, which costs less than the default of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Perceptron()
        self.model, self.loss_fn = self.net.model, self.net.loss_fn
        self.accuracy = MulticlassAccuracy(10, average="micro")
        self.seconds: list[float] = []

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        """Forward and loss; the Trainer does the rest."""
        inputs, labels = batch
        outputs = self.model(inputs)
        loss: torch.Tensor = self.loss_fn(outputs, labels)
        self.accuracy(outputs, labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        self.log("train_accuracy", self.accuracy, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The same SGD."""
        return self.net.optimizer

    def on_train_epoch_start(self) -> None:
        """The clock starts."""
        self._started = time.perf_counter()

    def on_train_epoch_end(self) -> None:
        """The clock stops."""
        self.seconds.append(time.perf_counter() - self._started)


def main() -> None:
    """Serve it. The Trainer has its defaults, but no progress bar and no summary, which would cost it time and write to the answers' pipe."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--epochs", type=int, required=True, help="of one fit")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")  # the data is in memory: workers make it slower
    module = Classifier()
    loader = DataLoader(TensorDataset(*normalised()), batch_size=BATCH, shuffle=True, generator=torch.Generator().manual_seed(SEED))
    quiet: dict[str, Any] = {"enable_progress_bar": False, "enable_model_summary": False}

    def epoch() -> float:
        module.seconds.clear()
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            trainer = lightning.Trainer(accelerator="cpu", max_epochs=arguments.epochs, default_root_dir=folder, **quiet)
            trainer.fit(module, loader)
        assert len(module.seconds) == arguments.epochs
        return statistics.mean(module.seconds)

    serve(epoch, module.net.save)


if __name__ == "__main__":
    main()
