"""The check before queueing: sizes filled in, wrong ones found, lints. And the warm child that runs it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from service.adapters.preflight_child import PreflightChildren, contained_child
from service.api.examples import examples
from service.spec.checking import needed
from service.spec.job import JobSpec
from tests.checking import checked, complete_examples
from worker.training.build import build_model

GOOD = {
    "dataset": "MNIST",
    "model": {
        "type": "Sequential",
        "layers": ["Flatten", {"type": "Linear", "out_features": 128}, "ReLU", {"type": "Linear", "out_features": 10}],
    },
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "SGD", "lr": 0.01},
    "epochs": 5,
}


def layers(*layers: object, **changes: object) -> dict:
    """The good spec with other layers."""
    return GOOD | {"model": {"type": "Sequential", "layers": list(layers)}} | changes


def linear(**arguments: object) -> dict:
    """A Linear layer to ten classes."""
    return {"type": "Linear", "out_features": 10} | arguments


def test_sizes_are_filled_in_and_tabled():
    """The resolved spec builds the written-out model; the table has its shapes and counts."""
    verdict = checked(GOOD, threads=3)
    spec = JobSpec.model_validate(verdict.resolved_spec)

    torch.manual_seed(0)
    ours = build_model(spec.model)
    torch.manual_seed(0)
    written = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))

    assert all(torch.equal(ours.state_dict()[name], tensor) for name, tensor in written.state_dict().items())
    assert [row.output_shape for row in verdict.layers] == [(784,), (128,), (128,), (10,)]
    assert verdict.num_parameters == 101_770
    assert spec.resources.threads == 3


@pytest.mark.parametrize(
    ("body", "pointer", "word"),
    [
        (layers("Flatten", linear(in_features=728)), "/model/layers/1/in_features", "in_features=784, got 728"),
        (layers(linear(in_features=784)), "/model/layers/0/in_features", "Flatten"),
        (layers(linear()), "/model/layers/0", "[1, 28, 10]"),
        (layers("Flatten", linear(out_features=9)), "/model/layers/1", "10 classes"),
        (layers({"type": "Conv2d", "out_channels": 4, "kernel_size": 40}, "Flatten", linear()), "/model/layers/0", "cannot take"),
        (
            layers({"type": "Conv2d", "in_channels": 3, "out_channels": 4, "kernel_size": 3}, "Flatten", linear()),
            "/model/layers/0/in_channels",
            "in_channels=1, got 3",
        ),
        (layers("Flatten", "BatchNorm2d", linear()), "/model/layers/1", "cannot take"),
        (layers("Flatten", "BatchNorm1d", linear(), dataloader={"batch_size": 59999}), "/dataloader/batch_size", "1 sample"),
        (GOOD | {"optimizer": {"type": "SGD", "nesterov": True}}, "/optimizer", "momentum"),
        (GOOD | {"loss": {"type": "CrossEntropyLoss", "weight": [1.0, 2.0]}}, "/loss/weight", "10 classes"),
        (GOOD | {"dataset": {"type": "MNIST", "transforms": ["ToImage"]}}, "/dataset/transforms", "ToDtype"),
        (
            GOOD
            | {
                "dataset": {
                    "type": "CIFAR10",
                    "transforms": [
                        "ToImage",
                        {"type": "ToDtype", "dtype": "float32"},
                        {"type": "Normalize", "mean": [0.5, 0.5], "std": [0.5]},
                    ],
                }
            },
            "/dataset/transforms/2/mean",
            "Normalize cannot take",
        ),
    ],
)
def test_what_cannot_train_is_refused(body: dict, pointer: str, word: str):
    """The place and a word of the sentence."""
    verdict = checked(body, threads=1)

    assert not verdict.valid
    assert [fault.pointer for fault in verdict.errors if word in fault.detail] == [pointer]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (layers("Flatten", linear(), "Softmax"), "softmax_before_cross_entropy"),
        (GOOD | {"loss": "NLLLoss"}, "nll_without_log_softmax"),
        (layers("Flatten", linear(), "ReLU"), "activation_last"),
        (GOOD | {"optimizer": {"type": "Adam", "lr": 3.0}}, "unusual_lr"),
        (GOOD | {"dataset": {"type": "Digits", "limit": 10}}, "batch_larger_than_dataset"),
        (GOOD | {"dataset": {"type": "Digits", "batch_transforms": ["MixUp", "CutMix"]}}, "mixed_twice"),
        (GOOD | {"checkpoint": {"monitor": "train_loss", "mode": "max"}}, "worst_is_best"),
        (GOOD | {"lr_scheduler": {"type": "ReduceLROnPlateau", "monitor": "train_accuracy"}}, "worst_is_best"),
    ],
)
def test_what_trains_but_hardly_as_meant_is_warned_of(body: dict, code: str):
    """Accepted, with a warning."""
    verdict = checked(body, threads=1)

    assert verdict.valid
    assert code in [warning.code for warning in verdict.warnings]


@pytest.mark.parametrize("name", complete_examples())
def test_every_example_is_valid_without_warnings(name: str):
    """What we show as an example is right."""
    verdict = checked(examples()[name], threads=1)

    assert (verdict.valid, verdict.warnings) == (True, ())


def test_a_child_that_dies_is_replaced():
    """The next check is served by a fresh one."""
    children = PreflightChildren(contained=lambda: contained_child(trusts_code=False))
    try:
        assert not children.check(needed(GOOD)).errors
        process = children._idle.queue[0]._process
        process.kill()
        process.wait()
        assert children.check(needed(layers("Flatten", linear()))).num_parameters == 7_850
    finally:
        children.close()
