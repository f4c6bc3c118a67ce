"""What of a spec several GPUs cannot compute as one process would: refused where the numbers would be others, told where draws are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.spec.catalog import Declared
from service.spec.fixes import removing, setting
from service.spec.model import Composite, FromJob, Graph, Module, Sequential, Torchvision, built, leaves
from service.spec.verdict import Fault, SpecWarning

if TYPE_CHECKING:
    from service.spec.job import JobSpec

_ONE = "Leave it out, or resources.gpus."
_DRAW_INSIDE = ("MultiheadAttention", "Transformer", "TransformerEncoderLayer", "TransformerDecoderLayer", "RNN", "LSTM", "GRU")


def faults(spec: JobSpec) -> list[Fault]:
    """Everything that several GPUs cannot do."""
    if spec.resources.gpus == 1:
        return []
    return [*_device(spec), *_batch(spec), *_compiled(spec), *_custom(spec), *_loss(spec), *_layers(spec)]


def _device(spec: JobSpec) -> Iterator[Fault]:
    if spec.resources.device == "cpu":
        detail = f"gpus: {spec.resources.gpus} is for GPUs; the device is cpu."
        fix = removing("/resources/gpus")
        yield Fault(pointer="/resources/gpus", code="no_gpu", detail=detail, suggestion="Leave it out, or set device: gpu.", fix=fix)


def _batch(spec: JobSpec) -> Iterator[Fault]:
    size, gpus = spec.dataloader.batch_size, spec.resources.gpus
    if size < gpus:
        detail = f"batch_size is that of all GPUs together: {size} samples leave some of {gpus} GPUs without any."
        where = "/dataloader/batch_size"
        yield Fault(pointer=where, code="few_samples", detail=detail, suggestion=f"Set {gpus} or more.", fix=setting(where, 32 * gpus))


def _compiled(spec: JobSpec) -> Iterator[Fault]:
    if spec.training.compile:
        detail = "Compiled code would draw for a GPU's part of a batch alone, and is compiled anew for every size of it."
        where = "/training/compile"
        yield Fault(pointer=where, code="several_gpus", detail=detail, suggestion=_ONE, fix=removing(where))


def _custom(spec: JobSpec) -> Iterator[Fault]:
    if isinstance(_inner(spec), Module):
        detail = "Custom code runs contained, without a network, where several processes cannot meet."
        fix = removing("/resources/gpus")
        yield Fault(pointer="/resources/gpus", code="several_gpus", detail=detail, suggestion="Leave it out.", fix=fix)


def _loss(spec: JobSpec) -> Iterator[Fault]:
    arguments = spec.loss.arguments()
    if spec.loss.type not in ("CrossEntropyLoss", "NLLLoss") or arguments["reduction"] == "sum":
        return
    for name, is_given in (("weight", arguments["weight"] is not None), ("ignore_index", arguments["ignore_index"] >= 0)):
        if is_given:
            detail = f"With {name} the loss is a mean over what a batch happens to hold, which no GPU knows of the others' parts."
            where = f"/loss/{name}"
            yield Fault(pointer=where, code="several_gpus", detail=detail, suggestion=_ONE, fix=removing(where))


_BY_BATCH: dict[str, tuple[str, ...]] = {
    "Embedding": ("max_norm", "scale_grad_by_freq"),
    "EmbeddingBag": ("max_norm", "scale_grad_by_freq"),
    **dict.fromkeys(("InstanceNorm1d", "InstanceNorm2d", "InstanceNorm3d"), ("track_running_stats",)),
}
"""Arguments by which a layer keeps or changes something by the samples that it sees."""


def _layers(spec: JobSpec) -> Iterator[Fault]:
    for pointer, layer in _declared(spec):
        for name in _BY_BATCH.get(layer.type, ()):
            if layer.arguments().get(name):
                detail = f"With {name} {layer.type} would become another on each GPU, by the samples that it sees."
                where = f"{pointer}/{name}"
                yield Fault(pointer=where, code="several_gpus", detail=detail, suggestion=_ONE, fix=removing(where))


def warnings(spec: JobSpec) -> Iterator[SpecWarning]:
    """Where the weights are not those of one process, but as good."""
    if spec.resources.gpus == 1:
        return
    for pointer, layer in _declared(spec):
        if layer.type == "RReLU" or (layer.type in _DRAW_INSIDE and layer.arguments().get("dropout")):
            detail = f"{layer.type} draws inside: each GPU draws for its part of a batch, which one process would draw otherwise."
            cure = "Nothing, where that is fine; for the draws of one process use Dropout layers, whose draws are the same."
            yield SpecWarning(pointer=pointer, code="draws_by_gpu", detail=detail, suggestion=cure)


def _inner(spec: JobSpec) -> Sequential | Graph | Torchvision | Module | None:
    """The model that is built; None of an earlier job's that was not looked up."""
    return None if isinstance(spec.model, FromJob) and spec.model.model is None else built(spec.model)


def _declared(spec: JobSpec) -> Iterator[tuple[str, Declared]]:
    inner = _inner(spec)
    return leaves(inner, "/model") if isinstance(inner, Composite) else iter(())
