"""What trains, but probably not as meant: warnings with a fix, never refusals."""

from __future__ import annotations

from service.spec.job import JobSpec
from service.spec.verdict import SpecWarning

_ACTIVATIONS = {"ReLU", "LeakyReLU", "GELU", "Tanh", "Sigmoid"}
_USUAL_LR = {"SGD": (1e-5, 2.0), "Adam": (1e-6, 0.1), "AdamW": (1e-6, 0.1)}


def lint(spec: JobSpec) -> list[SpecWarning]:
    """Every warning, in the order of the spec."""
    return [*_last_layer(spec), *_learning_rate(spec), *_batch_size(spec)]


def _last_layer(spec: JobSpec) -> list[SpecWarning]:
    last, at = spec.model.layers[-1].type, f"/model/layers/{len(spec.model.layers) - 1}"
    if spec.loss.type == "CrossEntropyLoss" and last in ("Softmax", "LogSoftmax"):
        detail = f"CrossEntropyLoss applies LogSoftmax itself; after {last} it learns slowly."
        return [SpecWarning(pointer=at, code="softmax_before_cross_entropy", detail=detail, suggestion=f"Remove {last}.")]
    if spec.loss.type == "NLLLoss" and last != "LogSoftmax":
        detail = "NLLLoss wants log-probabilities; without LogSoftmax its values mean nothing."
        return [
            SpecWarning(pointer=at, code="nll_without_log_softmax", detail=detail, suggestion="Add LogSoftmax, or use CrossEntropyLoss.")
        ]
    if last in _ACTIVATIONS or last.startswith("Dropout"):
        detail = f"{last} as the last layer bends or drops the logits."
        return [SpecWarning(pointer=at, code="activation_last", detail=detail, suggestion=f"Remove {last}.")]
    return []


def _learning_rate(spec: JobSpec) -> list[SpecWarning]:
    lr, (low, high) = spec.optimizer.arguments()["lr"], _USUAL_LR[spec.optimizer.type]
    if low <= lr <= high:
        return []
    detail = f"{spec.optimizer.type} is usually run with a learning rate between {low:g} and {high:g}; this is {lr:g}."
    return [SpecWarning(pointer="/optimizer/lr", code="unusual_lr", detail=detail, suggestion="Check the learning rate.")]


def _batch_size(spec: JobSpec) -> list[SpecWarning]:
    training, _ = spec.dataset.split_sizes
    if spec.dataloader.batch_size <= training:
        return []
    detail = f"batch_size {spec.dataloader.batch_size} is larger than the {training} training samples: every epoch is one step."
    return [
        SpecWarning(
            pointer="/dataloader/batch_size", code="batch_larger_than_dataset", detail=detail, suggestion="Use a smaller batch_size."
        )
    ]
