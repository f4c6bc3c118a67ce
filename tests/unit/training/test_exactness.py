"""The tensor path against torch's own DataLoader, and resuming against not stopping: equal bits, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset, random_split

from service.spec.job import JobSpec
from tests.checking import resolved
from tests.programs import weights_here
from worker.training.checkpoint import restore, snapshot, write
from worker.training.data import Batches, EpochOrder, grouped
from worker.training.epochs import training_batches
from worker.training.facts import EpochDone, StepDone
from worker.training.loop import NanLoss, Run, train
from worker.training.preparing import prepare
from worker.training.splits import split_indices

LAYERS = [
    {"type": "Conv2d", "out_channels": 4, "kernel_size": 3},
    "BatchNorm2d",
    "ReLU",
    "Flatten",
    "Dropout",
    {"type": "Linear", "out_features": 10},
]
BODY = {
    "seed": 11,
    "dataset": {"type": "Digits", "limit": 203, "validation_split": 0.2},
    "dataloader": {"batch_size": 16},
    "model": {"type": "Sequential", "layers": LAYERS},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "AdamW", "lr": 0.01},
    "epochs": 4,
    "checkpoint": {"monitor": "val_loss", "mode": "min"},
    "resources": {"threads": 1},
}


def spec_of(**changes: object) -> JobSpec:
    """The resolved spec with some parts changed."""
    return resolved(BODY | changes)


def run_of(spec: JobSpec) -> Run:
    """A fresh run."""
    return prepare(spec, datasets_dir=Path(), resume=None)


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("drop_last", [True, False])
@pytest.mark.parametrize("size", [64, 65, 7])
def test_the_order_is_the_dataloaders(size: int, drop_last: bool, shuffle: bool):
    """Three epochs of batches, and the generator's state after each."""
    theirs = torch.Generator().manual_seed(5)
    loader = DataLoader(TensorDataset(torch.arange(size)), batch_size=8, shuffle=shuffle, drop_last=drop_last, generator=theirs)
    ours = EpochOrder(size, seed=5, shuffle=shuffle)

    for _ in range(3):
        expected = [batch.tolist() for (batch,) in loader]
        assert [group.tolist() for group in grouped(ours.start(), size=8, drop_last=drop_last)] == expected
        ours.end()
        assert torch.equal(ours.generator.get_state(), theirs.get_state())


def test_the_split_is_random_splits():
    """The same indices on both sides."""
    kept, held_out = random_split(range(101), [81, 20], generator=torch.Generator().manual_seed(3))

    ours = split_indices(101, share=0.2, seed=3)

    assert [part.tolist() for part in ours] == [list(kept.indices), list(held_out.indices)]


def test_batches_equal_those_of_worker_processes_in_values_and_strides():
    """Indexed and loaded batches are the same tensors; other strides would train to other weights."""
    spec = spec_of(
        dataset={
            "type": "FakeData",
            "size": 40,
            "image_size": [3, 8, 8],
            "transforms": [
                "ToImage",
                {"type": "ToDtype", "dtype": "float32", "scale": True},
                {"type": "Normalize", "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]},
            ],
        },
        checkpoint={},
    )
    loaded = spec.model_copy(update={"dataloader": spec.dataloader.model_copy(update={"num_workers": 2})})
    split = run_of(spec).splits.train
    groups = grouped(torch.arange(len(split)), size=16)

    pairs = zip(*(Batches(split, each, device=torch.device("cpu")).over(groups) for each in (spec, loaded)), strict=True)

    for (ours, labels), (theirs, their_labels) in pairs:
        assert torch.equal(ours, theirs)
        assert torch.equal(labels, their_labels)
        assert ours.stride() == theirs.stride()


@pytest.mark.parametrize("stop_at", [1, 10, 11, 27])
def test_a_resumed_training_ends_with_equal_bits(stop_at: int, tmp_path: Path):
    """Stopped inside an epoch, at its last step and after it; Dropout, BatchNorm and the best epoch's weights included."""
    spec = spec_of()
    whole = run_of(spec)
    facts = [fact for fact in train(whole) if isinstance(fact, EpochDone)]
    broken = run_of(spec)
    steps = (fact for fact in train(broken) if isinstance(fact, StepDone))
    next(fact for fact in steps if fact.step == stop_at)
    write(snapshot(broken), tmp_path / "checkpoint")

    resumed = run_of(spec)
    restore(resumed, tmp_path / "checkpoint")
    later = [fact for fact in train(resumed) if isinstance(fact, EpochDone)]

    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert whole.position.best == resumed.position.best
    assert [fact.metrics for fact in later] == [fact.metrics for fact in facts][-len(later) :]


def test_a_loss_that_is_no_number_ends_the_training():
    """At the end of its epoch at the latest; the message names the step whose loss it was."""
    with pytest.raises(NanLoss, match=r"step 2 \(batch 2 of epoch 1\)"):
        list(train(run_of(spec_of(optimizer={"type": "SGD", "lr": 1e30}))))


def test_early_stopping_stops():
    """Nothing learns at a learning rate of nought, so patience runs out after one epoch and two more."""
    spec = spec_of(
        optimizer={"type": "SGD", "lr": 0.0},
        epochs=10,
        training={"early_stopping": {"monitor": "train_loss", "patience": 2, "min_delta": 10.0}},
    )

    epochs = [fact.epoch for fact in train(run_of(spec)) if isinstance(fact, EpochDone)]

    assert epochs == [1, 2, 3]


BY_BATCH = {
    "type": "Digits",
    "limit": 160,
    "transforms": ["ToImage", {"type": "ToDtype", "dtype": "float32", "scale": True}],
    "train_transforms": [{"type": "RandomCrop", "size": 8, "padding": 1}, {"type": "RandomHorizontalFlip"}],
    "augment": "batch",
}


@pytest.mark.parametrize("extra", [{}, {"batch_transforms": [{"type": "MixUp", "alpha": 0.3}]}], ids=["alone", "mixed"])
def test_augmentation_by_batch_is_train_pys(extra: dict[str, object], tmp_path: Path):
    """Drawn once for each batch, from its number: the program gives the same weights, with a batch left out as well."""
    spec = spec_of(dataset=BY_BATCH | extra, checkpoint={}, epochs=2, training={"skip_batches": [[0, 1]]})
    run = run_of(spec)
    list(train(run))

    theirs = weights_here(spec, tmp_path)

    assert all(torch.equal(tensor, theirs[name]) for name, tensor in run.model.state_dict().items())


def test_augmentation_by_batch_varies_from_batch_to_batch_and_not_by_who_loads():
    """Two epochs differ; loading processes change nothing; another path of the same draws gives the same strides."""
    spec = spec_of(dataset=BY_BATCH, checkpoint={})
    split, device = run_of(spec).splits.train, torch.device("cpu")
    loaded = spec.model_copy(update={"dataloader": spec.dataloader.model_copy(update={"num_workers": 1})})
    groups = grouped(torch.arange(len(split)), size=16)

    first, again, other = (
        list(training_batches(split, each, groups, epoch=epoch, device=device)) for each, epoch in ((spec, 0), (loaded, 0), (spec, 1))
    )

    for (ours, _), (theirs, _) in zip(first, again, strict=True):
        assert torch.equal(ours, theirs)
        assert ours.stride() == theirs.stride()
    assert any(not torch.equal(ours, later) for (ours, _), (later, _) in zip(first, other, strict=True))
