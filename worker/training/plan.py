"""How the arithmetic of a training is done, where its spec asks for speed that rounds otherwise than plain float32."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import torch
from torch import nn

from service.spec.training import Training
from worker.training.textbook import to_channels_last

COMPILERS = ("g++", "clang++", "c++")
RECORDING = ("reduce-overhead", "max-autotune")
"""Modes of torch.compile that record CUDA graphs."""
DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}
Forward = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The `training` keys of the same names, once `auto` is decided. The default is the textbook's arithmetic."""

    precision: str = "float32"
    channels_last: bool = False
    fused: bool = False
    compile: bool | str = False

    @classmethod
    def of(cls, training: Training) -> Self:
        """What the spec says; while `auto` is not decided, float32."""
        precision = "float32" if training.precision == "auto" else training.precision
        return cls(precision=precision, channels_last=training.channels_last, fused=training.fused, compile=training.compile)

    def into(self, training: Training) -> Training:
        """The spec's part with this plan in it."""
        return training.model_copy(update=asdict(self))

    def lay_out(self, model: nn.Module) -> None:
        """Put the weights in the order in memory that the plan works in."""
        if self.channels_last:
            to_channels_last(model)

    def forward(self, model: nn.Module, device: torch.device) -> Forward:
        """The model's forward pass; the model itself where nothing is asked. What it returns is float32, whatever it computes in.

        Where it is compiled, at its first call: `why_not_compiled` tells whether it can be.
        """
        call: Forward = model
        if self.compile:
            # not model.compile(): that leaves an nn.Sequential as it is (tried on torch 2.13)
            call = torch.compile(model, mode=None if self.compile is True else self.compile)
        records = self.records(device)
        dtype, layout = DTYPES.get(self.precision), torch.channels_last if self.channels_last else torch.contiguous_format
        if dtype is None and not self.channels_last and not records:
            return call
        autocast = torch.autocast(device.type, dtype=dtype or torch.float32, enabled=dtype is not None)
        parameters = list(model.parameters()) if records else []

        def forward(inputs: torch.Tensor) -> torch.Tensor:
            if records:
                keep_gradients(parameters)
                torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]  # torch ships it untyped
            with autocast:
                outputs: torch.Tensor = call(inputs.contiguous(memory_format=layout))
            # a graph gives out the memory that its next run writes to
            return outputs.to(torch.float32, copy=records)

        return forward

    def records(self, device: torch.device) -> bool:
        """Whether the compiled model records CUDA graphs."""
        return device.type == "cuda" and self.compile in RECORDING

    def scaler(self, device: torch.device) -> torch.amp.GradScaler:
        """Keeps float16's gradients from vanishing; does nothing for other types, whose range is float32's."""
        return torch.amp.GradScaler(device.type, enabled=self.precision == "float16")

    def options(self) -> dict[str, Any]:
        """What the optimizer is made with besides the spec's own arguments."""
        return {"fused": True} if self.fused else {}

    def __str__(self) -> str:
        """As people read it."""
        words = [self.precision]
        words += ["channels_last"] if self.channels_last else []
        words += ["fused"] if self.fused else []
        words += ["compile" if self.compile is True else f"compile: {self.compile}"] if self.compile else []
        return ", ".join(words)


def keep_gradients(parameters: Sequence[nn.Parameter]) -> None:
    """Put the gradients of a step that is not done yet into memory of their own, before a CUDA graph runs again.

    Autograd takes a first gradient as it is given, in the graph's memory; the next micro-batch's run writes there.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad = parameter.grad.clone()


def why_not_compiled(device: torch.device) -> str | None:
    """What `compile` lacks on this machine; None where nothing."""
    if device.type == "cpu" and not any(map(shutil.which, COMPILERS)):
        return f"this worker has no C++ compiler ({', '.join(COMPILERS)})"
    return None
