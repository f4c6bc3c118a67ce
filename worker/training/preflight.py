"""The check of a spec before it queues, and the child process that runs it: `python -m worker.training.preflight`.

The child reads one JSON line `{"id", "spec", "threads"}` and answers one `{"id", "verdict"}`; it ends with its input.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from service.spec.dataset import Dataset
from service.spec.job import JobSpec, read_spec
from service.spec.verdict import Fault, SpecFaults, Verdict
from worker.training.build import build_loss, build_model, build_optimizer
from worker.training.lints import lint
from worker.training.shapes import Walk, count, walk


def check(body: Mapping[str, Any], *, threads: int) -> Verdict:
    """Every fault at once; without one, the spec with every size and default filled in (`threads` where the spec names none)."""
    try:
        spec = read_spec(body)
    except SpecFaults as error:
        return Verdict(valid=False, errors=error.faults)
    found = walk(spec.model.layers, sample_shape=spec.dataset.facts.shape)
    faults = [*_transforms(spec.dataset), *found.faults]
    if found.complete:
        faults += _output(spec, found)
    faults += _optimizer(spec)
    if found.complete and not faults:
        spec = _resolved(spec, found, threads=threads)
        faults += _train_step(spec)
    if faults:
        return Verdict(valid=False, errors=tuple(faults), warnings=tuple(lint(spec)), layers=tuple(found.rows))
    with torch.device("meta"):
        parameters = count(build_model(spec))
    return Verdict(
        valid=True,
        warnings=tuple(lint(spec)),
        resolved_spec=spec.model_dump(mode="json"),
        layers=tuple(found.rows),
        num_parameters=parameters,
    )


def _resolved(spec: JobSpec, found: Walk, *, threads: int) -> JobSpec:
    resources = spec.resources.model_copy(update={"threads": spec.resources.threads or threads})
    return spec.model_copy(update={"model": spec.model.model_copy(update={"layers": tuple(found.layers)}), "resources": resources})


def _transforms(dataset: Dataset) -> list[Fault]:
    faults = []
    kinds = [transform.type for transform in dataset.transforms]
    if kinds[:1] != ["ToImage"]:
        detail = "The samples are images: the first transform has to be ToImage."
        faults.append(
            Fault(pointer="/dataset/transforms", code="not_a_tensor", detail=detail, suggestion="Start with ToImage, then ToDtype.")
        )
    if "ToDtype" not in kinds:
        detail = "Without ToDtype the samples stay bytes, which no layer takes."
        faults.append(
            Fault(
                pointer="/dataset/transforms",
                code="not_floating",
                detail=detail,
                suggestion="Add {type: ToDtype, dtype: float32, scale: true}.",
            )
        )
    channels = dataset.facts.shape[0]
    for at, transform in enumerate(dataset.transforms):
        pointer = f"/dataset/transforms/{at}"
        if transform.type == "Normalize":
            if "ToDtype" not in kinds[:at]:
                detail = "Normalize wants floating point samples."
                faults.append(Fault(pointer=pointer, code="not_floating", detail=detail, suggestion="Put ToDtype before Normalize."))
            for name in ("mean", "std"):
                given = len(transform.arguments()[name])
                if given not in (1, channels):
                    detail = f"{name} has {given} numbers; {dataset.type} has {channels} channel{'s' if channels > 1 else ''}."
                    faults.append(Fault(pointer=f"{pointer}/{name}", code="wrong_size", detail=detail, suggestion=f"Give {channels}."))
    return faults


def _output(spec: JobSpec, found: Walk) -> list[Fault]:
    classes, shape = spec.dataset.facts.num_classes, found.output_shape
    last = len(spec.model.layers) - 1
    faults = []
    if len(shape) != 1:
        detail = (
            f"{spec.loss.type} with class labels wants one number per class, [{classes}]; the model's output per sample is {list(shape)}."
        )
        suggestion = "Put a Flatten before the first Linear layer."
        faults.append(Fault(pointer=f"/model/layers/{last}", code="wrong_output", detail=detail, suggestion=suggestion))
    elif shape[0] != classes:
        detail = f"{spec.dataset.type} has {classes} classes, but the model's output has {shape[0]} numbers."
        at = max((index for index, layer in enumerate(spec.model.layers) if layer.type == "Linear"), default=last)
        faults.append(
            Fault(
                pointer=f"/model/layers/{at}",
                code="wrong_output",
                detail=detail,
                suggestion=f"Give the last Linear out_features: {classes}.",
            )
        )
    weight = spec.loss.arguments()["weight"]
    if weight is not None and len(weight) != classes:
        detail = f"weight has {len(weight)} numbers; {spec.dataset.type} has {classes} classes."
        faults.append(Fault(pointer="/loss/weight", code="wrong_size", detail=detail, suggestion=f"Give {classes}."))
    return faults


def _optimizer(spec: JobSpec) -> list[Fault]:
    try:
        build_optimizer(spec.optimizer, [nn.Parameter(torch.zeros(1))])
    except ValueError as error:
        return [Fault(pointer="/optimizer", code="optimizer", detail=f"{spec.optimizer.type} refuses this: {error}.")]
    return []


def _train_step(spec: JobSpec) -> list[Fault]:
    """Forward in train mode at the batch's and at the real last batch's size; the loss on real numbers of the output's shape."""
    training, _ = spec.dataset.split_sizes
    size = min(spec.dataloader.batch_size, training)
    last = training % spec.dataloader.batch_size
    with torch.device("meta"):
        model = build_model(spec).train()
    for rows in {size, last} - {0}:
        if rows == last and rows != size and spec.dataloader.drop_last:
            continue
        try:
            model(torch.empty(rows, *spec.dataset.facts.shape, device="meta"))
        except (RuntimeError, ValueError) as error:
            what = "The batch" if rows == size else "The last batch"
            detail = f"{what} has {rows} sample{'s' if rows > 1 else ''}: {str(error).splitlines()[0]}."
            suggestion = "Set dataloader.drop_last: true, or another batch_size."
            return [Fault(pointer="/dataloader/batch_size", code="last_batch", detail=detail, suggestion=suggestion)]
    classes = spec.dataset.facts.num_classes
    try:
        build_loss(spec.loss)(torch.zeros(2, classes), torch.zeros(2, dtype=torch.int64))
    except (RuntimeError, ValueError, IndexError) as error:
        return [Fault(pointer="/loss", code="loss", detail=f"{spec.loss.type} refuses its inputs: {str(error).splitlines()[0]}.")]
    return []


def main() -> None:
    """Answer requests until the input ends."""
    torch.set_num_threads(1)
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201  # the pipe to the parent
    for line in sys.stdin:
        request = json.loads(line)
        verdict = check(request["spec"], threads=request["threads"])
        print(json.dumps({"id": request["id"], "verdict": verdict.model_dump(mode="json")}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
