"""Trainings that are interrupted: what a checkpoint has to carry, a spec for each kind of it."""

from __future__ import annotations

from typing import Any

_SHARED: dict[str, Any] = {
    "seed": 5,
    "dataset": {"type": "Digits", "limit": 320, "validation_split": 0.1},
    "dataloader": {"batch_size": 16},
    "loss": "CrossEntropyLoss",
    "epochs": 4,
    "resources": {"threads": 1, "max_retries": 50},
}
_HEAD: list[Any] = ["Flatten", {"type": "Linear", "out_features": 32}, "ReLU", {"type": "Linear", "out_features": 10}]
_CONVOLUTIONS: list[Any] = [
    {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1},
    "BatchNorm2d",
    "ReLU",
    {"type": "Dropout2d", "p": 0.1},
    "Flatten",
    {"type": "Dropout", "p": 0.3},
    {"type": "Linear", "out_features": 10},
]
_TURNED = [{"type": "RandomAffine", "degrees": 15, "translate": [0.1, 0.1]}]

INTERRUPTED: dict[str, dict[str, Any]] = {
    "mlp": _SHARED | {"model": {"type": "Sequential", "layers": _HEAD}, "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9}},
    "cnn-batchnorm-dropout-augmented": _SHARED
    | {
        "dataset": _SHARED["dataset"] | {"train_transforms": _TURNED},
        "model": {"type": "Sequential", "layers": _CONVOLUTIONS},
        "optimizer": {"type": "AdamW", "lr": 0.003},
    },
    "accumulation-average-onecycle": _SHARED
    | {
        "model": {"type": "Sequential", "layers": _CONVOLUTIONS},
        "dataloader": {"batch_size": 7},
        "optimizer": {"type": "SGD", "lr": 0.05, "momentum": 0.9},
        "lr_scheduler": {"type": "OneCycleLR", "max_lr": 0.2},
        "training": {
            "ema_decay": 0.95,
            "gradient_accumulation_steps": 4,
            "clip_grad_norm": 1.0,
            "early_stopping": {"monitor": "val_loss", "patience": 2, "min_delta": 0.1},
        },
        "epochs": 12,
        "checkpoint": {"monitor": "val_accuracy", "mode": "max"},
        "evaluation": {"metrics": ["Accuracy", "F1Score", "AUROC"]},
    },
    "two-workers": _SHARED
    | {
        "dataset": _SHARED["dataset"] | {"train_transforms": _TURNED},
        "dataloader": {"batch_size": 16, "num_workers": 2},
        "model": {"type": "Sequential", "layers": [*_HEAD[:3], {"type": "Dropout", "p": 0.2}, _HEAD[3]]},
        "optimizer": {"type": "Adam", "lr": 0.003},
    },
}
