"""What the check counts, beside what torch counts; and torchvision's ResNet-18 written as layers."""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from service.spec.catalog import load
from service.spec.model import Torchvision
from tests.checking import checked, resolved
from tests.corpus.good import spec
from worker.training.build import build_model
from worker.training.shapes import Abstractly

SMALL = (
    "alexnet",
    "densenet121",
    "efficientnet_b0",
    "googlenet",
    "inception_v3",
    "regnet_x_400mf",
    "resnet18",
    "squeezenet1_0",
    "swin_t",
    "vit_b_16",
)
"""A model of most families; the long runs take all eighty."""


def conv(channels: int, **more: Any) -> dict[str, Any]:
    """A convolution without offsets, as ResNet has them."""
    return {"type": "Conv2d", "out_channels": channels, "kernel_size": 3, "padding": 1, "bias": False} | more


def block(channels: int, stride: int = 1) -> list[Any]:
    """A basic block: two convolutions beside a shortcut, and ReLU."""
    shortcut = {"shortcut": [conv(channels, kernel_size=1, padding=0, stride=stride), "BatchNorm2d"]} if stride > 1 else {}
    layers = [conv(channels, stride=stride), "BatchNorm2d", "ReLU", conv(channels), "BatchNorm2d"]
    return [{"type": "Residual", "layers": layers, **shortcut}, "ReLU"]


RESNET18 = [
    conv(64, kernel_size=7, stride=2, padding=3),
    "BatchNorm2d",
    "ReLU",
    {"type": "MaxPool2d", "kernel_size": 3, "stride": 2, "padding": 1},
    {"type": "Repeat", "times": 2, "layers": block(64)},
    *(layer for channels in (128, 256, 512) for layer in [*block(channels, 2), *block(channels)]),
    {"type": "AdaptiveAvgPool2d", "output_size": 1},
    "Flatten",
    {"type": "Linear", "out_features": 10},
]


def test_resnet18_as_layers_is_torchvisions():
    """The same number of parameters, and the same output for the same weights: bit for bit."""
    dataset = {"image_size": [3, 64, 64], "num_classes": 10}
    body = spec(RESNET18, dataset=dataset)
    ours = build_model(resolved(body).model)
    theirs = build_model(Torchvision(type="torchvision", name="resnet18", num_classes=10))

    # downsample stands before the block's own layers in torchvision's state, after them in ours
    own = [tensor for name, tensor in theirs.state_dict().items() if "downsample" not in name]
    side = [tensor for name, tensor in theirs.state_dict().items() if "downsample" in name]
    state = ours.state_dict()
    names = [name for name in state if "shortcut" not in name] + [name for name in state if "shortcut" in name]
    ours.load_state_dict(dict(zip(names, [*own, *side], strict=True)))
    batch = torch.rand(2, 3, 64, 64)

    assert checked(body).num_parameters == sum(parameter.numel() for parameter in theirs.parameters())
    with torch.no_grad():
        assert torch.equal(ours.eval()(batch), theirs.eval()(batch))


@pytest.mark.parametrize("name", load()["models"] if os.environ.get("TRAINYARD_LONG_TESTS") == "1" else SMALL)
def test_counts_of_a_classifier_are_torchs(name: str):
    """Parameters, operations of one sample, and every layer with its shape, in the order in which torch runs them."""
    side = 299 if name == "inception_v3" else 224
    dataset = {"image_size": [3, side, side], "num_classes": 10}
    body = spec([], dataset=dataset) | {"model": {"type": "torchvision", "name": name}}
    batch_size = body["dataloader"]["batch_size"]  # a share of what a model does once a batch (Swin's position bias) falls to each sample
    verdict = checked(body)
    with Abstractly():
        model = build_model(Torchvision(type="torchvision", name=name, num_classes=10)).to("meta").eval()
    ran: list[tuple[str, str, tuple[int, ...]]] = []
    for path, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_hook(
                lambda module, _, output, path=path: ran.append((path, type(module).__name__, tuple(output.shape[1:])))
            )
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        output = model(torch.empty(batch_size, 3, side, side, device="meta"))

    assert verdict.valid, verdict.errors
    assert verdict.num_parameters == sum(parameter.numel() for parameter in model.parameters())
    assert [(row.path, row.type, row.output_shape) for row in verdict.layers if row.path] == ran
    assert verdict.layers[-1].output_shape == tuple(output.shape[1:])
    assert verdict.flops_per_sample == counter.get_total_flops() // batch_size


def test_an_lstm_has_operations():
    """Torch counts none on the CPU; on meta it does."""
    layers = [
        {"type": "Flatten", "start_dim": 1, "end_dim": 2},
        {"type": "LSTM", "hidden_size": 16, "returns": "last"},
        {"type": "Linear", "out_features": 3},
    ]

    # four gates, each of input and hidden state, a multiplication and an addition each, 24 steps of 8 features
    assert checked(spec(layers)).flops_per_sample == 24 * 2 * 4 * 16 * (8 + 16) + 2 * 16 * 3
