"""What can be known at POST of exports that will fail: layers that ONNX has no word for, transforms that no graph can hold.

Tried with torch 2.13, layer by layer; what is not listed here may still fail, and is then a warning at the job's end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn
from torchvision.transforms import v2

from service.spec.catalog import Declared
from service.spec.dataset import Dataset
from service.spec.export import Export, Onnx
from service.spec.verdict import SpecWarning
from worker.training.build import build_transforms
from worker.training.data import TO_TENSOR

_MAX_POOLS = (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d, nn.AdaptiveMaxPool3d)
"""Over one side, two and three."""
_FRACTIONAL = (nn.FractionalMaxPool2d, nn.FractionalMaxPool3d)


def foreseen(exports: tuple[Export, ...], module: nn.Module | None, dataset: Dataset, sample: torch.Tensor | None) -> list[SpecWarning]:
    """A warning for each export that cannot be made. `module` is the model on meta, `sample` one sample as it sees them."""
    return [
        SpecWarning(
            pointer=f"/export/{at}",
            code="not_exported",
            detail=f"{export.file} will not be made: {why}",
            suggestion="Leave it out, or change what it names; the training itself is not affected.",
        )
        for at, export in enumerate(exports)
        for why in _reasons(export, module, dataset, sample)
    ]


def _reasons(export: Export, module: nn.Module | None, dataset: Dataset, sample: torch.Tensor | None) -> Iterator[str]:
    if module is not None and sample is not None:
        of_layers = [told for told in _layers(module, sample, isinstance(export, Onnx)) if told]
        yield from of_layers[:1]  # one is enough to fail, and a deep net would say the same a hundred times
    if export.preprocessing:
        yield from _transforms(dataset)


def _layers(module: nn.Module, sample: torch.Tensor, onnx: bool) -> list[str | None]:
    """Of every leaf that runs, what stands against it."""
    found: list[str | None] = []
    names = {id(each): name for name, each in module.named_modules()}

    def look(leaf: nn.Module, inputs: tuple[Any, ...]) -> None:
        why = (_of_onnx(leaf, inputs[0]) if onnx else _of_any(leaf)) if inputs else None
        found.append(why and f"{type(leaf).__name__} at {names[id(leaf)] or 'the top'} {why}")

    hooks = [each.register_forward_pre_hook(look) for each in module.modules() if not list(each.children())]
    try:
        with torch.no_grad():
            device = next(module.parameters(), sample).device
            module.eval()(sample.to(device).expand(2, *sample.shape))
    except Exception:  # the user's forward may raise anything at all; that it does is for others to say
        return found
    finally:
        for hook in hooks:
            hook.remove()
    return found


def _of_any(leaf: nn.Module) -> str | None:
    if isinstance(leaf, nn.FractionalMaxPool3d):
        return "works for one size of batch only in torch.export."
    return None


def _of_onnx(leaf: nn.Module, inputs: Any) -> str | None:
    if isinstance(leaf, _FRACTIONAL):
        return "has no ONNX operator."
    if isinstance(leaf, nn.RReLU):
        return "has no ONNX operator; LeakyReLU computes the same after training."
    if isinstance(leaf, nn.LSTM) and leaf.proj_size:
        return "has a proj_size, which ONNX's LSTM does not know."
    if isinstance(leaf, nn.AdaptiveAvgPool3d) and any(size != 1 for size in _sizes(leaf, inputs.shape[-3:])):
        return "has no ONNX operator for an output larger than 1."
    for count, pool in enumerate(_MAX_POOLS, 1):
        sides = inputs.shape[-count:] if isinstance(leaf, pool) else ()
        sizes = _sizes(leaf, sides) if sides else []
        if any(side % size for side, size in zip(sides, sizes, strict=True)):
            return f"makes {sizes} of {list(sides)}; ONNX has an operator only where that divides."
    return None


def _sizes(pool: Any, sides: Sequence[int]) -> list[int]:
    """What an adaptive pool makes of the sides of its input."""
    wanted = pool.output_size if isinstance(pool.output_size, tuple | list) else (pool.output_size,) * len(sides)
    return [side if size is None else size for side, size in zip(sides, wanted, strict=True)]


def _transforms(dataset: Dataset) -> Iterator[str]:
    """Of `preprocessing`: what of the evaluation's transforms is drawn at random, behind what makes a tensor."""
    at = next((at for at, each in enumerate(dataset.transforms) if each.type in TO_TENSOR), None)
    if at is None:
        yield "none of dataset.transforms makes a tensor of an image."
        return
    drawn = [each.type for each in dataset.transforms[at:] if _draws(each)]
    if drawn:
        yield f"{', '.join(drawn)} draws at random, which no graph holds still."
    if None in dataset.facts.shape and not any(each.type in _SIZED and _is_fixed(each) for each in dataset.transforms[:at]):
        yield "images differ in size where they become tensors; put the Resize, or the crop, before that."


_SIZED = ("Resize", "CenterCrop")


def _is_fixed(declared: Declared) -> bool:
    """Whether images of every size come out as one size: a Resize to one number keeps the sides' ratio."""
    size = declared.arguments()["size"]
    return declared.type == "CenterCrop" or (isinstance(size, tuple) and len(size) == 2)


def _draws(declared: Declared) -> bool:
    """Whether a transform asks for random numbers; a GaussianBlur does though its sigma be fixed."""
    inner = declared.arguments().get("transforms")
    if inner is not None:
        return declared.type != "Compose" or any(map(_draws, inner))
    own = getattr(type(build_transforms([declared])[0]), "make_params", None)
    return declared.type.startswith("Random") or own not in (None, v2.Transform.make_params)
