"""Sends made-up samples of a data set's kind through its transforms, to learn what reaches the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image

from service.spec.catalog import Declared
from service.spec.dataset import Dataset
from service.spec.fixes import inserting
from service.spec.verdict import Fault
from worker.training.build import build_transforms
from worker.training.data import applied
from worker.training.shapes import TORCH_ERRORS, first_line

_OWN_SIZES = ((375, 500), (500, 333), (96, 64))
"""Heights and widths to try where a data set's images differ."""


@dataclass
class Sampled:
    """One training and one evaluation sample as the model sees them (values mean nothing), None where the transforms fail."""

    train: torch.Tensor | None = None
    evaluation: torch.Tensor | None = None
    faults: list[Fault] = field(default_factory=list)
    span: tuple[int, int] | None = None
    """The least and the most of their whole numbers; None where nobody knows."""


def sample(dataset: Dataset) -> Sampled:
    """Run the transforms, random ones both always and never, on images of every size that may come."""
    found = Sampled(span=dataset.facts.span)
    images = _samples(dataset)
    found.evaluation = _checked(dataset, dataset.transforms, images, found.faults)
    found.train = found.evaluation
    if dataset.train_transforms and found.evaluation is not None:
        found.train = _checked(dataset, dataset.train_only, images, found.faults)
        if dataset.augments_batches and found.train is not None:
            _check_batches(dataset, images, found.faults)
    return found


def _check_batches(dataset: Dataset, images: list[Any], faults: list[Fault]) -> None:
    """What is augmented by batch has to be of one size before that."""
    shape = partial(applied, build_transforms(dataset.before_numbers))
    kinds = sorted({_what(shape(each)) for each in images})
    if len(kinds) > 1:
        detail = f"Before train_transforms samples differ, and cannot make a batch: {', '.join(kinds)}."
        suggestion = "Add {type: Resize, size: [224, 224]} to dataset.transforms, or leave augment out."
        faults.append(Fault(pointer="/dataset/augment", code="sizes_differ", detail=detail, suggestion=suggestion))


def _samples(dataset: Dataset) -> list[Any]:
    """Made-up samples of every size that may come: images, or numbers."""
    if dataset.facts.samples != "images":
        shape = tuple(each or 1 for each in dataset.facts.shape)
        # whole ones are often places in a table of words: all of them 0, which every table has
        whole = dataset.facts.dtype == "int64"
        return [torch.zeros(shape, dtype=torch.int64) if whole else torch.linspace(0, 1, math.prod(shape)).reshape(shape)]
    channels, *size = dataset.facts.shape
    sizes = _OWN_SIZES if None in size else [(size[0] or 1, size[1] or 1)]
    # not one shade: a transform that equalizes divides by what differs
    mode = "RGB" if channels == 3 else "L"
    return [
        Image.fromarray((np.arange(height * width * 3) % 251).astype(np.uint8).reshape(height, width, 3)).convert(mode)
        for height, width in sizes
    ]


def _checked(dataset: Dataset, transforms: Sequence[Declared], images: Sequence[Any], faults: list[Fault]) -> torch.Tensor | None:
    samples = list[Any](images)
    for at, declared in enumerate(transforms):
        pointer = _pointer(dataset, transforms, at)
        try:
            samples = [out for each in samples for out in _outcomes(declared, each)]
        except (*TORCH_ERRORS, OSError) as error:
            detail = f"{declared.type} cannot take its input, {_what(samples[0])}: {first_line(error)}"
            own, cure = _cure(declared, samples[0])
            faults.append(Fault(pointer=pointer + own, code="transform", detail=detail, suggestion=cure))
            return None
    return _one_kind(dataset, samples, faults)


def _outcomes(declared: Declared, before: Any) -> list[Any]:
    """What a transform may make of a sample: with its chance at 1, at 0, and with each alternative; one of each kind is enough."""
    made = [build_transforms([each])[0](before) for each in _certain(declared)]
    return list({_what(each): each for each in made}.values())


def _certain(declared: Declared) -> list[Declared]:
    if declared.type == "RandomChoice":
        return [certain for inner in declared.arguments()["transforms"] for certain in _certain(inner)]
    if declared.type in ("Compose", "RandomApply", "RandomOrder"):
        inner = tuple(certain for each in declared.arguments()["transforms"] for certain in _certain(each)[:1])
        always = declared.model_copy(update={"transforms": inner})
        return [always] if declared.type != "RandomApply" else [always.model_copy(update={"p": chance}) for chance in (1.0, 0.0)]
    if isinstance(declared.arguments().get("p"), float) and declared.type.startswith("Random"):
        return [declared.model_copy(update={"p": chance}) for chance in (1.0, 0.0)]
    # sizes drawn at random show in a few draws
    return [declared] * (4 if declared.type in ("RandomResize", "RandomShortestSize", "ScaleJitter") else 1)


def _one_kind(dataset: Dataset, samples: Sequence[Any], faults: list[Fault]) -> torch.Tensor | None:
    kinds = sorted({_what(each) for each in samples})
    if not all(isinstance(each, torch.Tensor) for each in samples):
        detail = f"After the transforms a sample is {kinds[0]}, not a tensor."
        suggestion = "Use ToImage, then ToDtype with dtype: float32 and scale: true."
        faults.append(Fault(pointer="/dataset/transforms", code="not_a_tensor", detail=detail, suggestion=suggestion))
        return None
    if len(kinds) > 1:
        detail = f"After the transforms samples differ, and cannot make a batch: {', '.join(kinds)}."
        suggestion = "Add {type: Resize, size: [224, 224]}, or a crop." if None in dataset.facts.shape else "End with a Resize or a crop."
        faults.append(Fault(pointer="/dataset/transforms", code="sizes_differ", detail=detail, suggestion=suggestion))
        return None
    found: torch.Tensor = samples[0].as_subclass(torch.Tensor)
    if found.dtype == torch.uint8:
        detail = "Without ToDtype the samples stay bytes, which no layer takes."
        suggestion = "Add {type: ToDtype, dtype: float32, scale: true}."
        fix = inserting("/dataset/transforms/-", {"type": "ToDtype", "dtype": "float32", "scale": True})
        faults.append(Fault(pointer="/dataset/transforms", code="not_floating", detail=detail, suggestion=suggestion, fix=fix))
        return None
    return found


def _what(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of {list(value.shape)}"
    if isinstance(value, Image.Image):
        return f"a {value.height} by {value.width} image of mode {value.mode}"
    return type(value).__name__


def _pointer(dataset: Dataset, transforms: Sequence[Declared], at: int) -> str:
    """Where the transform stands in the spec: `train_only` weaves the two lists together."""
    if transforms is dataset.transforms:
        return f"/dataset/transforms/{at}"
    first = next(
        (i for i, each in enumerate(transforms) if dataset.train_transforms and each is dataset.train_transforms[0]), len(transforms)
    )
    if at < first:
        return f"/dataset/transforms/{at}"
    if at < first + len(dataset.train_transforms):
        return f"/dataset/train_transforms/{at - first}"
    return f"/dataset/transforms/{at - len(dataset.train_transforms)}"


def _cure(declared: Declared, before: Any) -> tuple[str, str]:
    """The argument that is wrong, as a pointer, "" where none is known to be; and what would be right."""
    if declared.type == "Normalize":
        if not isinstance(before, torch.Tensor) or not before.is_floating_point():
            return "", "Put ToImage and ToDtype before Normalize."
        channels = before.shape[0]
        wrong = next((name for name in ("mean", "std") if len(declared.arguments()[name]) not in (1, channels)), None)
        return f"/{wrong}" if wrong else "", f"Give one number for each of {channels} channels."
    if "Crop" in declared.type:
        return "/size", "Use a smaller size, pad_if_needed: true, or a Resize before."
    return "", f"Change the arguments of {declared.type}, or the transforms before it."
