"""From a resolved spec to torch objects. The catalog is the allow-list: nothing is built that it does not name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, cast

import torch
from torch import nn

import worker.training.vision  # noqa: F401  # before torchvision
from service.spec.catalog import Declared
from service.spec.job import JobSpec

from torchvision.transforms import v2  # isort: skip

Transform = Callable[[Any], Any]


def build_layer(layer: Declared) -> nn.Module:
    """One layer, with ordinary arguments (no Lazy modules: they would draw their weights in another order)."""
    return cast("nn.Module", getattr(nn, layer.type)(**_plain(layer)))


def build_model(spec: JobSpec) -> nn.Sequential:
    """The model, layers in written order, so that a seed gives the weights that the written-out program gets."""
    return nn.Sequential(*(build_layer(layer) for layer in spec.model.layers))


def build_loss(loss: Declared) -> nn.Module:
    """The loss; class weights become a tensor."""
    arguments = _plain(loss)
    if arguments.get("weight") is not None:
        arguments["weight"] = torch.tensor(arguments["weight"])
    return cast("nn.Module", getattr(nn, loss.type)(**arguments))


def build_optimizer(optimizer: Declared, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """The optimizer with torch's own default implementation: `foreach` and the plain loop give equal bits, `fused` does not."""
    return cast("torch.optim.Optimizer", getattr(torch.optim, optimizer.type)(parameters, **_plain(optimizer)))


def build_transforms(declared: Sequence[Declared]) -> list[Transform]:
    """The transforms, in order."""
    return [_transform(each) for each in declared]


def _transform(declared: Declared) -> Transform:
    arguments = _plain(declared)
    if "dtype" in arguments:
        arguments["dtype"] = getattr(torch, arguments["dtype"])
    return cast("Transform", getattr(v2, declared.type)(**arguments))


def _plain(declared: Declared) -> dict[str, Any]:
    return {
        name: list(value) if isinstance(value, tuple) and declared.type == "Normalize" else value
        for name, value in declared.chosen().items()
    }
