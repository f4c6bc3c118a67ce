"""A trained model as a file that runs without its source - torch's own graph, or ONNX - and how far that is from the model.

Nothing here is imported before a job asks for it: onnx and its runtime are slow to load.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import nn

from service.spec.dataset import Transform
from service.spec.export import Export, Onnx
from service.spec.job import JobSpec
from worker.training.build import Transform as Done
from worker.training.data import TO_TENSOR, Batches, applied, on_bytes
from worker.training.loop import Run
from worker.training.shapes import first_line

SAMPLES = 32
"""Test samples that a file is compared on."""
BATCHES = (1, 2, 5)
"""Sizes of the first batches of them; the rest is one more."""
_LONGEST = 300


class NotExported(Exception):
    """The format cannot say this model; the text says why."""


@dataclass(frozen=True)
class Subject:
    """What is exported, real samples as it takes them [N, ...], and what the trained model answers [N, ...]. All on the CPU, where anybody loads it."""

    module: nn.Module
    inputs: torch.Tensor
    outputs: torch.Tensor


class Preprocessed(nn.Module):
    """A model behind the transforms that its samples go through."""

    def __init__(self, transforms: list[Done], model: nn.Module) -> None:
        super().__init__()
        self.transforms, self.model = transforms, model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """What the model says of images of bytes [B, channels, height, width]."""
        output: torch.Tensor = self.model(applied(self.transforms, images))
        return output


def make(run: Run, export: Export, path: Path) -> tuple[float, int, int | None]:
    """Write the file; the largest difference from the trained model, the number of samples, and ONNX's opset. Raises NotExported.

    `run.judged` has to be on the CPU.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the exporters use; what they have made is compared
            subject = subject_of(run, preprocessing=export.preprocessing)
            opset = _write(export, subject, path)
            return _difference(subject, _runner(export, path)), len(subject.inputs), opset
    except NotExported:
        raise
    except Exception as error:  # the model's own forward, inside exporters whose parts raise all there is: whatever it was is the reason
        raise NotExported(reason(error)) from error


def reason(error: BaseException) -> str:
    """Why, in a line: what stood at the beginning of a chain of errors."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {first_line(error)[:_LONGEST]}"


def subject_of(run: Run, *, preprocessing: bool) -> Subject:
    """The trained model with the first test samples; with `preprocessing` behind its own transforms. Raises NotExported, and what torch raises."""
    # one by one, in this process: it may have no children
    spec = run.spec.model_copy(update={"dataloader": run.spec.dataloader.model_copy(update={"num_workers": 0})})
    model = run.judged.eval()
    inputs = _samples(run, spec)
    outputs = model(inputs)
    if not preprocessing:
        return Subject(model, inputs, outputs)
    transforms = spec.dataset.transforms
    at = next((at for at, each in enumerate(transforms) if each.type in TO_TENSOR), None)
    if at is None:
        raise NotExported("none of dataset.transforms makes a tensor of an image.")
    bytes_only = (*transforms[:at], TypeAdapter(Transform).validate_python("ToImage"))
    raw = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"transforms": bytes_only})})
    return Subject(Preprocessed([on_bytes(each) for each in transforms[at:]], model), _samples(run, raw), outputs)


def _samples(run: Run, spec: JobSpec) -> torch.Tensor:
    count = min(SAMPLES, len(run.splits.test))
    ((inputs, _),) = Batches(run.splits.test, spec, device=torch.device("cpu")).over([torch.arange(count)])
    return inputs.as_subclass(torch.Tensor)


def _write(export: Export, subject: Subject, path: Path) -> int | None:
    """The file; ONNX's opset, None where there is none."""
    # a batch of one would become a constant
    example = subject.inputs[:2] if len(subject.inputs) > 1 else torch.cat([subject.inputs] * 2)
    program = torch.export.export(subject.module, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    if not isinstance(export, Onnx):
        torch.export.save(program, path)
        return None
    made: Any = torch.onnx.export(
        program, (), dynamo=True, opset_version=export.opset, input_names=["input"], output_names=["output"], verbose=False
    )
    made.rename_axes({str(made.model.graph.inputs[0].shape[0]): "batch"})
    for node in made.model.graph:
        node.metadata_props.clear()  # stack traces of this worker's
    made.save(path, external_data=False)
    opset = int(made.model.opset_imports[""])
    if export.opset not in (None, opset):
        raise NotExported(f"torch could not write it for opset {export.opset}, only for {opset}.")
    return opset


def _runner(export: Export, path: Path) -> Callable[[torch.Tensor], torch.Tensor]:
    """The file, loaded as its users load it."""
    if not isinstance(export, Onnx):
        module: Callable[[torch.Tensor], torch.Tensor] = torch.export.load(path).module()
        return module
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: torch.from_numpy(session.run(None, {"input": inputs.numpy()})[0])


def _difference(subject: Subject, run: Callable[[torch.Tensor], torch.Tensor]) -> float:
    """The largest between two numbers of an output, over batches of several sizes; infinity where one of them is no number."""
    sizes = [*BATCHES, SAMPLES]
    largest = 0.0
    for inputs, outputs in zip(_cut(subject.inputs, sizes), _cut(subject.outputs, sizes), strict=True):
        found = run(inputs.contiguous())
        if found.shape != outputs.shape:
            raise NotExported(f"of a batch of {len(inputs)} it makes {list(found.shape)}, where the model makes {list(outputs.shape)}.")
        gap = (found.double() - outputs.double()).abs().max().item()
        largest = max(largest, gap if gap == gap else float("inf"))  # noqa: PLR0124  # nothing else differs from itself
    return largest


def _cut(rows: torch.Tensor, sizes: list[int]) -> list[torch.Tensor]:
    """Consecutive batches of these sizes, as far as there are rows."""
    parts, at = [], 0
    for size in sizes:
        if at < len(rows):
            parts.append(rows[at : at + size])
        at += size
    return parts
