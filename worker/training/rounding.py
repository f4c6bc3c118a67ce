"""What train.py says and does where a spec's arithmetic rounds otherwise than plain float32."""

from __future__ import annotations

from service.spec.training import Resources, Training

_BITS = {"bfloat16": 8, "float16": 11}
"""Significant bits of a number: IEEE 754 for float16; bfloat16 is float32 with the last 16 bits cut off."""
TOLERANCE = "Expect each loss within 5 % and each accuracy within 1 point."
"""Tested on the examples that ask for it."""


def rounding(training: Training) -> list[str]:
    """Each cause for other last bits, as a sentence's end."""
    causes = []
    if (bits := _BITS.get(training.precision)) is not None:
        causes.append(f"the forward pass computes in {training.precision}, which keeps {bits} significant bits where float32 keeps 24")
    if training.channels_last:
        causes.append("images lie in memory as NHWC, so other kernels add up in another order")
    if training.fused:
        causes.append("the fused optimizer rounds once where the plain one rounds after each operation")
    if training.compile:
        causes.append("compiled code joins operations and adds up in another order")
    return causes


def several(resources: Resources) -> list[str]:
    """The cause that lies in several GPUs, likewise."""
    if resources.device != "gpu" or resources.gpus == 1:
        return []
    return [
        f"{resources.gpus} GPUs each computed a part of every batch, and their gradients were added up after; this program computes whole batches"
    ]


def forward_lines(training: Training) -> list[str]:
    """The program's lines for step 2; the outputs are float32 again after them."""
    model = "compiled" if training.compile else "model"
    lines = ["inputs = inputs.contiguous(memory_format=torch.channels_last)"] if training.channels_last else []
    if training.precision not in _BITS:
        return [*lines, f"outputs = {model}(inputs)  # 2 forward"]
    autocast = f'with torch.autocast("cpu", dtype=torch.{training.precision}):'
    return [*lines, autocast, f"    outputs = {model}(inputs)  # 2 forward", "outputs = outputs.float()"]
