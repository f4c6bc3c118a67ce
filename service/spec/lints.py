"""What trains, but probably not as meant: warnings with a fix, never refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from service.spec import monitors, several_gpus, tables
from service.spec.catalog import Declared
from service.spec.dataset import PLACED_BY
from service.spec.fixes import removing, setting
from service.spec.model import AnyLayer, Composite, Graph, Model, Repeat, Sequential, built, leaves
from service.spec.verdict import Fix, SpecWarning

if TYPE_CHECKING:
    from service.spec.job import JobSpec

ACTIVATIONS = {
    "ReLU",
    "ReLU6",
    "LeakyReLU",
    "PReLU",
    "RReLU",
    "ELU",
    "CELU",
    "SELU",
    "GELU",
    "SiLU",
    "Mish",
    "Tanh",
    "Sigmoid",
    "Hardtanh",
}
ACTIVATIONS |= {"Softplus", "Softsign", "Hardswish", "Hardsigmoid", "LogSigmoid"}
_USUAL_LR = {
    **dict.fromkeys(("SGD", "ASGD", "Rprop"), (1e-5, 2.0)),
    **dict.fromkeys(("Adam", "AdamW", "Adamax", "NAdam", "RAdam", "RMSprop"), (1e-6, 0.1)),
    **dict.fromkeys(("Adagrad", "Adafactor", "Muon"), (1e-6, 1.0)),
    "Adadelta": (1e-4, 10.0),
}
_LOGITS = ("CrossEntropyLoss", "BCEWithLogitsLoss", "MultiLabelSoftMarginLoss")
_LOG_PROBABILITIES = ("NLLLoss", "KLDivLoss")


def lint(spec: JobSpec) -> list[SpecWarning]:
    """Every warning, in the order of the spec."""
    return [
        *_unlabelled(spec),
        *_unused_columns(spec),
        *_mixed_twice(spec),
        *_batch_size(spec),
        *_last_layer(spec),
        *_batch_first(spec),
        *_unused_nodes(spec),
        *_targets(spec),
        *_learning_rate(spec),
        *several_gpus.warnings(spec),
        *_modes(spec),
    ]


def _unlabelled(spec: JobSpec) -> list[SpecWarning]:
    if spec.dataset.is_judged:
        return []
    detail = "These data have no labels: answers are written, and nothing is measured."
    cure = "Nothing, where that is what you want; else upload them with labels."
    if spec.dataset.content is not None and spec.dataset.content.layout == "table":
        columns = tables.taken(spec.dataset.content, spec.dataset.arguments()).labels
        cure = f"Nothing, where that is what you want; else upload a table that has {', '.join(column.name for column in columns)}."
    return [SpecWarning(pointer=f"/dataset/{PLACED_BY[spec.dataset.type]}", code="no_labels", detail=detail, suggestion=cure)]


def _unused_columns(spec: JobSpec) -> list[SpecWarning]:
    content = spec.dataset.content
    return tables.unused(content, spec.dataset.arguments()) if content is not None and content.layout == "table" else []


def last_leaf(layer: AnyLayer, pointer: str) -> tuple[str, Declared] | None:
    """The layer whose output is the model's, with its pointer; None where several are joined."""
    match layer:
        case Declared():
            return pointer, layer
        case Sequential() | Repeat():
            at = len(layer.layers) - 1
            return last_leaf(layer.layers[at], f"{pointer}/layers/{at}")
        case Graph():
            at = next((at for at, node in enumerate(layer.nodes) if node.name == layer.last), 0)
            return last_leaf(layer.nodes[at].layer, f"{pointer}/nodes/{at}/layer")
    return None


def _last_layer(spec: JobSpec) -> list[SpecWarning]:
    model = spec.model
    found = last_leaf(model, "/model") if isinstance(model, Composite) else None
    if found is None:
        return []
    at, last = found[0], found[1].type
    if spec.loss.type in _LOGITS and last in ("Softmax", "LogSoftmax", "Sigmoid", "LogSigmoid"):
        detail = f"{spec.loss.type} takes raw logits and applies {'Sigmoid' if 'BCE' in spec.loss.type else 'LogSoftmax'} itself; after {last} it learns slowly."
        fix = _without(at, model)
        return [SpecWarning(pointer=at, code="softmax_before_cross_entropy", detail=detail, suggestion=f"Remove {last}.", fix=fix)]
    if spec.loss.type in _LOG_PROBABILITIES and last not in ("LogSoftmax", "LogSigmoid"):
        detail = f"{spec.loss.type} wants log-probabilities; without LogSoftmax its values mean nothing."
        suggestion = "Add LogSoftmax, or use CrossEntropyLoss."
        fix = setting("/loss/type", "CrossEntropyLoss") if spec.loss.type == "NLLLoss" else None
        return [SpecWarning(pointer=at, code="nll_without_log_softmax", detail=detail, suggestion=suggestion, fix=fix)]
    bends = last in ACTIVATIONS and spec.dataset.task != "regression" and spec.loss.type != "BCELoss"
    if bends or last.startswith("Dropout"):
        detail = f"{last} as the last layer bends or drops the outputs."
        return [SpecWarning(pointer=at, code="activation_last", detail=detail, suggestion=f"Remove {last}.", fix=_without(at, model))]
    return []


def _without(pointer: str, model: Model) -> Fix | None:
    """A layer taken out, where it is not the only one of its list, nor what a Graph's node is."""
    above, _, at = pointer.rpartition("/")
    is_alone = at == "0" or (isinstance(model, Sequential) and len(model.layers) == 1)
    return removing(pointer) if above.endswith("/layers") and not is_alone else None


def _batch_first(spec: JobSpec) -> Iterator[SpecWarning]:
    model = built(spec.model) if getattr(spec.model, "model", True) else spec.model
    if not isinstance(model, Composite):
        return
    for pointer, layer in leaves(model, "/model"):
        if layer.arguments().get("batch_first") is False:
            detail = f"With batch_first: false {layer.type} takes the batch for its steps: samples mix."
            where, cure = f"{pointer}/batch_first", "Leave batch_first out, or true."
            yield SpecWarning(pointer=where, code="batch_not_first", detail=detail, suggestion=cure, fix=setting(where, value=True))


def _unused_nodes(spec: JobSpec) -> Iterator[SpecWarning]:
    if not isinstance(spec.model, Graph):
        return
    used = {name for at in range(len(spec.model.nodes)) for name in spec.model.inputs_of(at)} | {spec.model.last}
    for at, node in enumerate(spec.model.nodes):
        if node.name not in used:
            detail = f"Nothing uses `{node.name}`: it costs time and never learns."
            where, cure = f"/model/nodes/{at}", "Remove it, or use it."
            yield SpecWarning(pointer=where, code="unused_node", detail=detail, suggestion=cure, fix=removing(where))


def _targets(spec: JobSpec) -> list[SpecWarning]:
    wanted = {"SoftMarginLoss": "signed", "HingeEmbeddingLoss": "signed", "BCELoss": "one_hot", "BCEWithLogitsLoss": "one_hot"}
    right = wanted.get(spec.loss.type)
    if right is None or spec.dataset.target in (right, "input", "value", "binary") or spec.dataset.facts.labels != "class":
        return []
    detail = f"{spec.loss.type} is meant for targets of {'-1 and 1' if right == 'signed' else '0 and 1'}; target: {spec.dataset.target} gives others."
    where, cure = "/dataset/target", f"Set dataset.target: {right}."
    return [SpecWarning(pointer=where, code="unusual_target", detail=detail, suggestion=cure, fix=setting(where, right))]


def _learning_rate(spec: JobSpec) -> list[SpecWarning]:
    lr, (low, high) = spec.optimizer.arguments()["lr"], _USUAL_LR[spec.optimizer.type]
    if low <= lr <= high:
        return []
    detail = f"{spec.optimizer.type} is usually run with a learning rate between {low:g} and {high:g}; this is {lr:g}."
    return [SpecWarning(pointer="/optimizer/lr", code="unusual_lr", detail=detail, suggestion="Check the learning rate.")]


def _batch_size(spec: JobSpec) -> list[SpecWarning]:
    training, _ = spec.dataset.split_sizes
    if not spec.epochs or spec.dataloader.batch_size <= training:
        return []
    detail = f"batch_size {spec.dataloader.batch_size} is larger than the {training} training samples: every epoch is one step."
    where, cure = "/dataloader/batch_size", "Use a smaller batch_size."
    fix = setting(where, max(1, min(64, training // 10)))
    return [SpecWarning(pointer=where, code="batch_larger_than_dataset", detail=detail, suggestion=cure, fix=fix)]


def _mixed_twice(spec: JobSpec) -> list[SpecWarning]:
    if len(spec.dataset.batch_transforms) < 2:
        return []
    detail = "Every batch is mixed by each of these, one after the other."
    suggestion = "For one of them per batch, as in torchvision's recipes: [{type: RandomChoice, transforms: [MixUp, CutMix]}]."
    return [SpecWarning(pointer="/dataset/batch_transforms", code="mixed_twice", detail=detail, suggestion=suggestion)]


def _modes(spec: JobSpec) -> Iterator[SpecWarning]:
    """A value that is watched the wrong way round: best would be the worst epoch."""
    for pointer, (name, mode) in monitors.watched(spec).items():
        right = monitors.better(name)
        if right not in (None, mode):
            detail = f"With mode: {mode} the {'largest' if mode == 'max' else 'smallest'} {name} counts as the best."
            where, cure = f"{pointer}/mode", f"Set mode: {right}."
            yield SpecWarning(pointer=where, code="worst_is_best", detail=detail, suggestion=cure, fix=setting(where, right))
