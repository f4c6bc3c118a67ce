"""Runs shapes through a model on the `meta` device: sizes left out are filled in, wrong ones found, layers tabled. Computes nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from service.spec.catalog import Declared
from service.spec.verdict import Fault, LayerRow
from worker.training.build import build_layer

_AXIS = {"in_features": -1, "in_channels": 1, "num_features": 1}
"""Which axis of the input an inferred size is."""


@dataclass
class Walk:
    """What a walk through the layers found. `complete` says that every layer was run."""

    layers: list[Declared] = field(default_factory=list)
    rows: list[LayerRow] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    complete: bool = True

    @property
    def output_shape(self) -> tuple[int, ...]:
        """One sample's output."""
        return self.rows[-1].output_shape


def walk(layers: tuple[Declared, ...], *, sample_shape: tuple[int, ...]) -> Walk:
    """Run a batch of two `sample_shape` samples through. After a layer of a wrong size goes on with the right one; after any other fault stops."""
    found = Walk()
    batch = torch.empty(2, *sample_shape, device="meta")
    for at, layer in enumerate(layers):
        pointer = f"/model/layers/{at}"
        sized = _sized(layer, batch, pointer, found.faults)
        try:
            with torch.device("meta"):
                module = build_layer(sized).eval()
            batch = module(batch)
        except (RuntimeError, ValueError, TypeError, IndexError, NotImplementedError) as error:
            found.faults.append(_refused(layer, batch, pointer, error, more=at + 1 < len(layers)))
            found.complete = False
            return found
        if 0 in batch.shape:
            shown = list(batch.shape[1:])
            found.faults.append(
                Fault(pointer=pointer, code="empty_output", detail=f"{layer.type} leaves nothing: its output per sample is {shown}.")
            )
            found.complete = False
            return found
        found.layers.append(sized)
        found.rows.append(LayerRow(path=str(at), type=layer.type, output_shape=tuple(batch.shape[1:]), num_parameters=count(module)))
    return found


def count(module: nn.Module) -> int:
    """Parameters, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _sized(layer: Declared, batch: torch.Tensor, pointer: str, faults: list[Fault]) -> Declared:
    for name, axis in _AXIS.items():
        if name not in type(layer).model_fields or batch.dim() <= abs(axis):
            continue
        given, right = getattr(layer, name), batch.shape[axis]
        if given is not None and given != right:
            shown = list(batch.shape[1:])
            hint = " A Flatten before it would join the dimensions." if name == "in_features" and batch.dim() > 2 else ""
            faults.append(
                Fault(
                    pointer=f"{pointer}/{name}",
                    code="wrong_size",
                    detail=f"{layer.type} expects {name}={right}, got {given}: its input per sample is {shown}.{hint}",
                    suggestion=f"Write {name}: {right}, or leave it out.",
                )
            )
        layer = layer.model_copy(update={name: right})
    return layer


def _refused(layer: Declared, batch: torch.Tensor, pointer: str, error: Exception, *, more: bool) -> Fault:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    unchecked = " The layers after it were not checked." if more else ""
    shown = list(batch.shape[1:])
    return Fault(
        pointer=pointer,
        code="shape",
        detail=f"{layer.type} cannot take its input, {shown} per sample: {first}{'' if first.endswith('.') else '.'}{unchecked}",
        suggestion="2-d layers want [channels, height, width]; a Flatten gives Linear and BatchNorm1d a flat input.",
    )
