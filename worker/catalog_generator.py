"""Writes `service/spec/catalog.json` from the installed torch and torchvision: `python -m worker.catalog_generator [--check]`.

Names and defaults come from torch's signatures, so drift is seen; types, ranges and help come from the overlay below.
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

import worker.training.vision  # noqa: F401  # before torchvision

from torchvision.transforms import v2  # isort: skip

CATALOG = Path(__file__).parent.parent / "service" / "spec" / "catalog.json"

INT = {"type": "int"}
FLOAT = {"type": "float"}
BOOL = {"type": "bool"}


def _at_least(minimum: float, kind: Mapping[str, Any] = INT, **more: Any) -> dict[str, Any]:
    return {**kind, "minimum": minimum, **more}


def _pair(minimum: int, **more: Any) -> dict[str, Any]:
    return {"type": "int", "minimum": minimum, "pair": 2, **more}


_INFERRED = _at_least(1, infer=True)
_PROBABILITY = {"type": "float", "minimum": 0, "maximum": 1}
_INPLACE = {**BOOL, "help": "Write into the input; saves memory."}
_POOL_PADDING = _pair(0, help="Zeros (or -inf) added on both sides; at most half the kernel.")
_BATCH_NORM: dict[str, Any] = {
    "num_features": {**_INFERRED, "help": "Channels of the input. Inferred."},
    "eps": {**FLOAT, "minimum": 0, "help": "Added to the variance."},
    "momentum": {
        **FLOAT,
        "minimum": 0,
        "maximum": 1,
        "nullable": True,
        "help": "Of the running statistics; null averages over all batches.",
    },
    "affine": {**BOOL, "help": "Learn a scale and a shift."},
    "bias": {**BOOL, "help": "Learn the shift, where `affine`."},
    "track_running_stats": {**BOOL, "help": "Keep running statistics for evaluation."},
}
_LOSS: dict[str, Any] = {
    "weight": {"type": "floats", "nullable": True, "minimum": 0, "help": "A weight for each class."},
    "ignore_index": {**INT, "help": "A target that counts for nothing."},
    "reduction": {"type": "choice", "choices": ["mean", "sum"], "help": "How samples are joined."},
}
_OPTIMIZER: dict[str, Any] = {
    "lr": _at_least(0, FLOAT, help="Learning rate."),
    "weight_decay": _at_least(0, FLOAT, help="L2 penalty (decoupled in AdamW)."),
    "maximize": {**BOOL, "help": "Climb instead of descend."},
}
_ADAM: dict[str, Any] = {
    **_OPTIMIZER,
    "betas": {"type": "floats", "length": 2, "minimum": 0, "below": 1, "help": "Decay of the running mean and square of the gradient."},
    "eps": _at_least(0, FLOAT, help="Added to the denominator."),
    "amsgrad": {**BOOL, "help": "Keep the largest square seen (AMSGrad)."},
}

OVERLAY: dict[str, dict[str, dict[str, Any]]] = {
    "layers": {
        "Linear": {
            "help": "y = x W^T + b over the last dimension.",
            "in_features": {**_INFERRED, "help": "Size of the input's last dimension. Inferred."},
            "out_features": _at_least(1, help="Size of the output's last dimension."),
            "bias": {**BOOL, "help": "Learn an offset."},
        },
        "Conv2d": {
            "help": "2-D convolution over [channels, height, width].",
            "in_channels": {**_INFERRED, "help": "Channels of the input. Inferred."},
            "out_channels": _at_least(1, help="Channels of the output."),
            "kernel_size": _pair(1, help="Height and width of the window."),
            "stride": _pair(1, help="Step of the window."),
            "padding": _pair(0, words=["same", "valid"], help="Added on both sides; `same` keeps the size."),
            "dilation": _pair(1, help="Spacing inside the window."),
            "groups": _at_least(1, help="Blocked connections from inputs to outputs."),
            "bias": {**BOOL, "help": "Learn an offset."},
            "padding_mode": {"type": "choice", "choices": ["zeros", "reflect", "replicate", "circular"], "help": "What is added."},
        },
        "MaxPool2d": {
            "help": "The largest value in each window.",
            "kernel_size": _pair(1, help="Height and width of the window."),
            "stride": _pair(1, nullable=True, help="Step of the window; the kernel size if left out."),
            "padding": _POOL_PADDING,
            "dilation": _pair(1, help="Spacing inside the window."),
            "ceil_mode": {**BOOL, "help": "Round the output size up."},
        },
        "AvgPool2d": {
            "help": "The mean of each window.",
            "kernel_size": _pair(1, help="Height and width of the window."),
            "stride": _pair(1, nullable=True, help="Step of the window; the kernel size if left out."),
            "padding": _POOL_PADDING,
            "ceil_mode": {**BOOL, "help": "Round the output size up."},
            "count_include_pad": {**BOOL, "help": "Let padding count in the mean."},
            "divisor_override": _at_least(1, nullable=True, help="Divide by this instead of the window's size."),
        },
        "AdaptiveAvgPool2d": {
            "help": "The mean over as many windows as give the wanted size.",
            "output_size": _pair(1, help="Wanted height and width."),
        },
        "Flatten": {
            "help": "Join dimensions into one; by default all but the batch.",
            "start_dim": {**INT, "help": "First dimension to join."},
            "end_dim": {**INT, "help": "Last dimension to join."},
        },
        "Dropout": {
            "help": "Zero elements at random in training.",
            "p": {**_PROBABILITY, "help": "Share that is zeroed."},
            "inplace": _INPLACE,
        },
        "Dropout2d": {
            "help": "Zero whole channels at random in training.",
            "p": {**_PROBABILITY, "help": "Share that is zeroed."},
            "inplace": _INPLACE,
        },
        "BatchNorm1d": {"help": "Normalise each feature over the batch.", **_BATCH_NORM},
        "BatchNorm2d": {"help": "Normalise each channel over batch and space.", **_BATCH_NORM},
        "ReLU": {"help": "max(0, x).", "inplace": _INPLACE},
        "LeakyReLU": {
            "help": "x where positive, else a little of it.",
            "negative_slope": {**FLOAT, "help": "How much."},
            "inplace": _INPLACE,
        },
        "GELU": {
            "help": "x times the normal distribution's share below it.",
            "approximate": {"type": "choice", "choices": ["none", "tanh"], "help": "Exact, or by tanh."},
        },
        "Tanh": {"help": "Hyperbolic tangent: -1 to 1."},
        "Sigmoid": {"help": "1 / (1 + exp(-x)): 0 to 1."},
        "Softmax": {
            "help": "Exponentials that sum to one.",
            "dim": {**INT, "nullable": True, "default": 1, "ours": True, "help": "Along which dimension; 1 if left out."},
        },
        "LogSoftmax": {
            "help": "Logarithm of Softmax.",
            "dim": {**INT, "nullable": True, "default": 1, "ours": True, "help": "Along which dimension; 1 if left out."},
        },
    },
    "losses": {
        "CrossEntropyLoss": {
            "help": "Cross entropy of raw logits against class labels (or pixel maps).",
            **_LOSS,
            "label_smoothing": {**_PROBABILITY, "help": "Share of the target spread over all classes."},
        },
        "NLLLoss": {"help": "Negative log likelihood; wants LogSoftmax before it.", **_LOSS},
    },
    "optimizers": {
        "SGD": {
            "help": "Stochastic gradient descent, with momentum if asked.",
            **_OPTIMIZER,
            "momentum": _at_least(0, FLOAT, help="Share of the last step that is kept."),
            "dampening": {**FLOAT, "help": "Dampening of the momentum."},
            "nesterov": {**BOOL, "help": "Nesterov's momentum; needs momentum > 0 and dampening 0."},
        },
        "Adam": {
            "help": "Adaptive moments (Kingma, Ba 2014).",
            **_ADAM,
            "decoupled_weight_decay": {**BOOL, "help": "Decay the weights apart from the gradient, as AdamW does."},
        },
        "AdamW": {"help": "Adam with decoupled weight decay (Loshchilov, Hutter 2017).", **_ADAM},
    },
    "transforms": {
        "ToImage": {"help": "To a [channels, height, width] tensor of bytes."},
        "ToDtype": {
            "help": "To another number type; `scale` maps 0-255 to 0-1.",
            "dtype": {"type": "choice", "choices": ["float32"], "help": "Number type."},
            "scale": {**BOOL, "help": "Map the old type's range to the new one's."},
        },
        "Normalize": {
            "help": "(x - mean) / std, per channel.",
            "mean": {"type": "floats", "help": "One for each channel."},
            "std": {"type": "floats", "above": 0, "help": "One for each channel."},
            "inplace": _INPLACE,
        },
    },
}

DATASETS: dict[str, dict[str, Any]] = {
    "MNIST": {"help": "Handwritten digits.", "args": {}, "facts": {"shape": [1, 28, 28], "num_classes": 10, "train": 60000, "test": 10000}},
    "FashionMNIST": {
        "help": "Clothes, in MNIST's form.",
        "args": {},
        "facts": {"shape": [1, 28, 28], "num_classes": 10, "train": 60000, "test": 10000},
    },
    "CIFAR10": {
        "help": "Small colour photographs of ten kinds.",
        "args": {},
        "facts": {"shape": [3, 32, 32], "num_classes": 10, "train": 50000, "test": 10000},
    },
    "Digits": {
        "help": "scikit-learn's 8x8 digits; needs no download.",
        "args": {},
        "facts": {"shape": [1, 8, 8], "num_classes": 10, "train": 1437, "test": 360},
    },
    "FakeData": {
        "help": "Random images and labels; the test split is a fifth as large, drawn after the training images.",
        "args": {
            "size": {"type": "int", "minimum": 1, "maximum": 1_000_000, "default": 1000, "help": "Training images."},
            "image_size": {
                "type": "ints",
                "length": 3,
                "minimum": 1,
                "default": [3, 224, 224],
                "help": "Channels (1 or 3), height, width.",
            },
            "num_classes": {"type": "int", "minimum": 1, "default": 10, "help": "Labels are drawn from 0 to one less."},
            "random_offset": {"type": "int", "minimum": 0, "default": 0, "help": "Added to an image's index to seed it."},
        },
    },
}

_LEFT_OUT = {
    "self",
    "params",
    "device",
    "dtype",
    "size_average",
    "reduce",
    "return_indices",
    "foreach",
    "fused",
    "capturable",
    "differentiable",
}
"""Arguments that are ours to set, deprecated in torch, or change what a layer returns."""


def generate() -> dict[str, Any]:
    """The whole catalog. Raises LookupError where torch's signature and the overlay disagree."""
    homes = {"layers": torch.nn, "losses": torch.nn, "optimizers": torch.optim, "transforms": v2}
    groups: dict[str, Any] = {
        group: {name: _entry(getattr(homes[group], name), group, name) for name in sorted(OVERLAY[group])} for group in homes
    }
    groups["datasets"] = DATASETS
    return {"torch": torch.__version__.partition("+")[0], **groups}


def _entry(declared: type, group: str, name: str) -> dict[str, Any]:
    overlay = dict(OVERLAY[group][name])
    entry: dict[str, Any] = {"help": overlay.pop("help"), "args": {}}
    left_out = _LEFT_OUT - ({"dtype"} if name == "ToDtype" else set())
    for parameter in inspect.signature(declared.__init__).parameters.values():  # type: ignore[misc]  # a class's own signature
        if parameter.name in left_out or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.name not in overlay:
            raise LookupError(f"{group}.{name} has a new argument {parameter.name!r}: describe it in the overlay or leave it out by name")
        argument = dict(overlay.pop(parameter.name))
        if parameter.default is not inspect.Parameter.empty:
            argument.setdefault("default", list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default)
        elif argument.get("infer"):
            argument["default"] = None
        entry["args"][parameter.name] = argument
    if overlay:
        raise LookupError(f"{group}.{name} has no argument {sorted(overlay)} in this torch")
    return entry


def main() -> int:
    """Write the catalog, or with --check say whether the committed one is stale (exit 1)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when the committed file is stale")
    text = json.dumps(generate(), indent=1) + "\n"
    if not parser.parse_args().check:
        CATALOG.write_text(text)
        return 0
    if CATALOG.read_text() != text:
        print("service/spec/catalog.json is stale: run `make catalog`", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
