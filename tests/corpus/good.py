"""Specs that train: a layer each, beside the same layer in torch's own words; and every loss, optimizer, schedule, transform and metric."""

from __future__ import annotations

from typing import Any

SHAPES: dict[str, tuple[list[Any], tuple[int, ...]]] = {
    "image": ([], (3, 8, 8)),
    "sequence": ([{"type": "Flatten", "start_dim": 1, "end_dim": 2}], (24, 8)),
    "volume": ([{"type": "Unflatten", "dim": 1, "unflattened_size": [1, 3]}], (1, 3, 8, 8)),
    "flat": (["Flatten"], (192,)),
}
"""What stands before a layer so that its input, from [3, 8, 8], is of this kind; and that input's shape."""

LAYERS: list[tuple[str, dict[str, Any], str]] = [
    ("flat", {"type": "Linear", "out_features": 7}, "nn.Linear(192, 7)"),
    ("image", {"type": "Linear", "out_features": 7, "bias": False}, "nn.Linear(8, 7, bias=False)"),
    ("flat", {"type": "Identity"}, "nn.Identity()"),
    ("sequence", {"type": "Conv1d", "out_channels": 5, "kernel_size": 3}, "nn.Conv1d(24, 5, 3)"),
    ("image", {"type": "Conv2d", "out_channels": 5, "kernel_size": [3, 1], "stride": 2}, "nn.Conv2d(3, 5, (3, 1), stride=2)"),
    (
        "image",
        {"type": "Conv2d", "out_channels": 6, "kernel_size": 3, "padding": "same", "groups": 3},
        "nn.Conv2d(3, 6, 3, padding='same', groups=3)",
    ),
    (
        "image",
        {"type": "Conv2d", "out_channels": 4, "kernel_size": 3, "dilation": 2, "padding": 2, "padding_mode": "reflect"},
        "nn.Conv2d(3, 4, 3, dilation=2, padding=2, padding_mode='reflect')",
    ),
    ("volume", {"type": "Conv3d", "out_channels": 2, "kernel_size": [1, 3, 3]}, "nn.Conv3d(1, 2, (1, 3, 3))"),
    ("sequence", {"type": "ConvTranspose1d", "out_channels": 5, "kernel_size": 2, "stride": 2}, "nn.ConvTranspose1d(24, 5, 2, stride=2)"),
    (
        "image",
        {"type": "ConvTranspose2d", "out_channels": 5, "kernel_size": 3, "stride": 2, "output_padding": 1},
        "nn.ConvTranspose2d(3, 5, 3, stride=2, output_padding=1)",
    ),
    ("volume", {"type": "ConvTranspose3d", "out_channels": 2, "kernel_size": 2}, "nn.ConvTranspose3d(1, 2, 2)"),
    ("image", {"type": "Unfold", "kernel_size": 2}, "nn.Unfold(2)"),
    ("sequence", {"type": "Fold", "output_size": [3, 5], "kernel_size": 2}, "nn.Fold((3, 5), 2)"),
    ("sequence", {"type": "MaxPool1d", "kernel_size": 2}, "nn.MaxPool1d(2)"),
    ("image", {"type": "MaxPool2d", "kernel_size": 3, "stride": 2, "padding": 1}, "nn.MaxPool2d(3, 2, 1)"),
    ("volume", {"type": "MaxPool3d", "kernel_size": [1, 2, 2]}, "nn.MaxPool3d((1, 2, 2))"),
    ("sequence", {"type": "AvgPool1d", "kernel_size": 2, "ceil_mode": True}, "nn.AvgPool1d(2, ceil_mode=True)"),
    ("image", {"type": "AvgPool2d", "kernel_size": 2, "divisor_override": 3}, "nn.AvgPool2d(2, divisor_override=3)"),
    ("volume", {"type": "AvgPool3d", "kernel_size": [1, 2, 2]}, "nn.AvgPool3d((1, 2, 2))"),
    ("sequence", {"type": "LPPool1d", "norm_type": 2, "kernel_size": 2}, "nn.LPPool1d(2, 2)"),
    ("image", {"type": "LPPool2d", "norm_type": 2, "kernel_size": 2}, "nn.LPPool2d(2, 2)"),
    ("volume", {"type": "LPPool3d", "norm_type": 2, "kernel_size": [1, 2, 2]}, "nn.LPPool3d(2, (1, 2, 2))"),
    ("sequence", {"type": "AdaptiveAvgPool1d", "output_size": 3}, "nn.AdaptiveAvgPool1d(3)"),
    ("image", {"type": "AdaptiveAvgPool2d", "output_size": [2, None]}, "nn.AdaptiveAvgPool2d((2, None))"),
    ("volume", {"type": "AdaptiveAvgPool3d", "output_size": 1}, "nn.AdaptiveAvgPool3d(1)"),
    ("sequence", {"type": "AdaptiveMaxPool1d", "output_size": 3}, "nn.AdaptiveMaxPool1d(3)"),
    ("image", {"type": "AdaptiveMaxPool2d", "output_size": 2}, "nn.AdaptiveMaxPool2d(2)"),
    ("volume", {"type": "AdaptiveMaxPool3d", "output_size": 1}, "nn.AdaptiveMaxPool3d(1)"),
    ("image", {"type": "FractionalMaxPool2d", "kernel_size": 2, "output_size": 4}, "nn.FractionalMaxPool2d(2, output_size=4)"),
    (
        "volume",
        {"type": "FractionalMaxPool3d", "kernel_size": [1, 2, 2], "output_ratio": 0.5},
        "nn.FractionalMaxPool3d((1, 2, 2), output_ratio=0.5)",
    ),
    ("sequence", {"type": "ReflectionPad1d", "padding": 2}, "nn.ReflectionPad1d(2)"),
    ("image", {"type": "ReflectionPad2d", "padding": [1, 2, 3, 1]}, "nn.ReflectionPad2d((1, 2, 3, 1))"),
    ("volume", {"type": "ReflectionPad3d", "padding": 1}, "nn.ReflectionPad3d(1)"),
    ("sequence", {"type": "ReplicationPad1d", "padding": [0, 2]}, "nn.ReplicationPad1d((0, 2))"),
    ("image", {"type": "ReplicationPad2d", "padding": 1}, "nn.ReplicationPad2d(1)"),
    ("volume", {"type": "ReplicationPad3d", "padding": 1}, "nn.ReplicationPad3d(1)"),
    ("sequence", {"type": "CircularPad1d", "padding": 1}, "nn.CircularPad1d(1)"),
    ("image", {"type": "CircularPad2d", "padding": 1}, "nn.CircularPad2d(1)"),
    ("volume", {"type": "CircularPad3d", "padding": 1}, "nn.CircularPad3d(1)"),
    ("sequence", {"type": "ZeroPad1d", "padding": [1, -1]}, "nn.ZeroPad1d((1, -1))"),
    ("image", {"type": "ZeroPad2d", "padding": 1}, "nn.ZeroPad2d(1)"),
    ("volume", {"type": "ZeroPad3d", "padding": 1}, "nn.ZeroPad3d(1)"),
    ("sequence", {"type": "ConstantPad1d", "padding": 1, "value": 2.5}, "nn.ConstantPad1d(1, 2.5)"),
    ("image", {"type": "ConstantPad2d", "padding": 1, "value": 1}, "nn.ConstantPad2d(1, 1)"),
    ("volume", {"type": "ConstantPad3d", "padding": 1, "value": 1}, "nn.ConstantPad3d(1, 1)"),
    ("image", {"type": "Flatten", "start_dim": 2}, "nn.Flatten(2)"),
    ("flat", {"type": "Unflatten", "dim": 1, "unflattened_size": [4, -1]}, "nn.Unflatten(1, (4, -1))"),
    ("flat", {"type": "Dropout", "p": 0.1}, "nn.Dropout(0.1)"),
    ("sequence", {"type": "Dropout1d"}, "nn.Dropout1d()"),
    ("image", {"type": "Dropout2d"}, "nn.Dropout2d()"),
    ("volume", {"type": "Dropout3d"}, "nn.Dropout3d()"),
    ("flat", {"type": "AlphaDropout"}, "nn.AlphaDropout()"),
    ("image", {"type": "FeatureAlphaDropout"}, "nn.FeatureAlphaDropout()"),
    ("flat", {"type": "BatchNorm1d"}, "nn.BatchNorm1d(192)"),
    ("image", {"type": "BatchNorm2d", "affine": False, "momentum": None}, "nn.BatchNorm2d(3, affine=False, momentum=None)"),
    ("volume", {"type": "BatchNorm3d", "track_running_stats": False}, "nn.BatchNorm3d(1, track_running_stats=False)"),
    ("sequence", {"type": "InstanceNorm1d", "affine": True}, "nn.InstanceNorm1d(24, affine=True)"),
    ("image", {"type": "InstanceNorm2d"}, "nn.InstanceNorm2d(3)"),
    ("volume", {"type": "InstanceNorm3d"}, "nn.InstanceNorm3d(1)"),
    ("sequence", {"type": "GroupNorm", "num_groups": 4}, "nn.GroupNorm(4, 24)"),
    ("image", {"type": "LayerNorm"}, "nn.LayerNorm(8)"),
    ("image", {"type": "LayerNorm", "normalized_shape": [3, 8, 8]}, "nn.LayerNorm((3, 8, 8))"),
    ("sequence", {"type": "RMSNorm"}, "nn.RMSNorm(8)"),
    ("image", {"type": "LocalResponseNorm", "size": 2}, "nn.LocalResponseNorm(2)"),
    ("sequence", {"type": "RNN", "hidden_size": 6, "nonlinearity": "relu"}, "nn.RNN(8, 6, nonlinearity='relu', batch_first=True)"),
    (
        "sequence",
        {"type": "LSTM", "hidden_size": 6, "num_layers": 2, "bidirectional": True, "proj_size": 3},
        "nn.LSTM(8, 6, 2, batch_first=True, bidirectional=True, proj_size=3)",
    ),
    ("sequence", {"type": "GRU", "hidden_size": 6, "dropout": 0.1, "num_layers": 2}, "nn.GRU(8, 6, 2, batch_first=True, dropout=0.1)"),
    ("flat", {"type": "RNNCell", "hidden_size": 6}, "nn.RNNCell(192, 6)"),
    ("flat", {"type": "LSTMCell", "hidden_size": 6}, "nn.LSTMCell(192, 6)"),
    ("flat", {"type": "GRUCell", "hidden_size": 6, "bias": False}, "nn.GRUCell(192, 6, bias=False)"),
    (
        "sequence",
        {"type": "TransformerEncoderLayer", "nhead": 2, "dim_feedforward": 16, "activation": "gelu"},
        "nn.TransformerEncoderLayer(8, 2, 16, activation='gelu', batch_first=True)",
    ),
    ("image", {"type": "PixelUnshuffle", "downscale_factor": 2}, "nn.PixelUnshuffle(2)"),
    ("image", {"type": "ChannelShuffle", "groups": 3}, "nn.ChannelShuffle(3)"),
    ("sequence", {"type": "Upsample", "scale_factor": 2, "mode": "linear"}, "nn.Upsample(scale_factor=2, mode='linear')"),
    (
        "image",
        {"type": "Upsample", "size": [5, 6], "mode": "bicubic", "align_corners": True},
        "nn.Upsample((5, 6), mode='bicubic', align_corners=True)",
    ),
    ("image", {"type": "UpsamplingNearest2d", "scale_factor": 2}, "nn.UpsamplingNearest2d(scale_factor=2)"),
    ("image", {"type": "UpsamplingBilinear2d", "size": 5}, "nn.UpsamplingBilinear2d(5)"),
    ("image", {"type": "PReLU", "num_parameters": 3}, "nn.PReLU(3)"),
    ("flat", {"type": "RReLU"}, "nn.RReLU()"),
    ("flat", {"type": "CELU", "alpha": 0.5}, "nn.CELU(0.5)"),
    ("flat", {"type": "GELU", "approximate": "tanh"}, "nn.GELU('tanh')"),
    ("flat", {"type": "Softplus", "beta": 2}, "nn.Softplus(2)"),
    ("flat", {"type": "Threshold", "threshold": 0.1, "value": 0}, "nn.Threshold(0.1, 0)"),
    ("flat", {"type": "Hardtanh", "min_val": -2}, "nn.Hardtanh(-2)"),
    ("flat", {"type": "GLU"}, "nn.GLU()"),
    ("image", {"type": "Softmax2d"}, "nn.Softmax2d()"),
    ("image", {"type": "Softmax", "dim": -1}, "nn.Softmax(-1)"),
    *(
        ("flat", {"type": name}, f"nn.{name}()")
        for name in ("ReLU", "ReLU6", "LeakyReLU", "ELU", "SELU", "SiLU", "Mish", "Softsign", "Softshrink", "Hardshrink", "Tanhshrink")
    ),
    *(("flat", {"type": name}, f"nn.{name}()") for name in ("Tanh", "Sigmoid", "LogSigmoid", "Hardsigmoid", "Hardswish")),
    *(("flat", {"type": name}, f"nn.{name}(1)") for name in ("LogSoftmax", "Softmin")),
]

LOSSES: list[tuple[Any, str]] = [
    ("CrossEntropyLoss", "label"),
    ({"type": "CrossEntropyLoss", "weight": [1, 2, 0.5], "label_smoothing": 0.1}, "label"),
    ("CrossEntropyLoss", "one_hot"),
    ("NLLLoss", "label"),
    ({"type": "MultiMarginLoss", "p": 2}, "label"),
    ({"type": "BCEWithLogitsLoss", "pos_weight": [1, 2, 3]}, "one_hot"),
    ("MultiLabelSoftMarginLoss", "one_hot"),
    ({"type": "MSELoss", "reduction": "sum"}, "one_hot"),
    ("L1Loss", "signed"),
    ({"type": "SmoothL1Loss", "beta": 0.5}, "one_hot"),
    ({"type": "HuberLoss", "delta": 2}, "one_hot"),
    ("PoissonNLLLoss", "one_hot"),
    ({"type": "KLDivLoss", "reduction": "batchmean"}, "one_hot"),
    ("SoftMarginLoss", "signed"),
    ("HingeEmbeddingLoss", "signed"),
]

OPTIMIZERS: list[Any] = [
    "SGD",
    {"type": "SGD", "momentum": 0.9, "nesterov": True},
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "RAdam",
    "Adagrad",
    "Adadelta",
    "Adafactor",
    {"type": "RMSprop", "momentum": 0.5, "centered": True},
    "Rprop",
    "ASGD",
    {"type": "AdamW", "groups": [{"match": "bias", "weight_decay": 0, "lr": 0.01}]},
]

SCHEDULERS: list[Any] = [
    {"type": "StepLR", "step_size": 2},
    {"type": "MultiStepLR", "milestones": [1, 3], "interval": "step"},
    "ConstantLR",
    "LinearLR",
    {"type": "ExponentialLR", "gamma": 0.9},
    "PolynomialLR",
    {"type": "CosineAnnealingLR", "T_max": 3},
    "CosineAnnealingLR",
    {"type": "CosineAnnealingWarmRestarts", "T_0": 2},
    {"type": "CyclicLR", "base_lr": 0.01, "max_lr": 0.1, "cycle_momentum": False},
    {"type": "OneCycleLR", "max_lr": 0.1},
    "ReduceLROnPlateau",
    {"type": "SequentialLR", "schedulers": ["LinearLR", {"type": "ExponentialLR", "gamma": 0.9}], "milestones": [2]},
    {"type": "ChainedScheduler", "schedulers": ["ConstantLR", {"type": "ExponentialLR", "gamma": 0.9}]},
]

TRANSFORMS: list[Any] = [
    {"type": "Resize", "size": [8, 8]},
    {"type": "CenterCrop", "size": 8},
    {"type": "Pad", "padding": 0},
    "RGB",
    {"type": "GaussianBlur", "kernel_size": 3},
    {"type": "RandomCrop", "size": 8, "padding": 1},
    {"type": "RandomResizedCrop", "size": 8},
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    {"type": "RandomRotation", "degrees": 10},
    {"type": "RandomAffine", "degrees": [-5, 5], "translate": [0.1, 0.1], "scale": [0.9, 1.1], "shear": 5},
    "RandomPerspective",
    {"type": "ElasticTransform", "sigma": 0.5},
    {"type": "ColorJitter", "brightness": 0.2, "contrast": [0.8, 1.2], "saturation": 0.1, "hue": 0.1},
    "RandomPhotometricDistort",
    "RandomChannelPermutation",
    "RandomGrayscale",
    "RandomInvert",
    {"type": "RandomPosterize", "bits": 4},
    {"type": "RandomSolarize", "threshold": 128},
    {"type": "RandomAdjustSharpness", "sharpness_factor": 2},
    "RandomAutocontrast",
    "RandomEqualize",
    "AutoAugment",
    "RandAugment",
    "TrivialAugmentWide",
    "AugMix",
    {"type": "RandomApply", "transforms": ["RandomInvert"], "p": 0.3},
    {"type": "RandomChoice", "transforms": ["RandomInvert", "Identity"]},
    {"type": "RandomOrder", "transforms": ["RandomInvert", "RandomGrayscale"]},
    {"type": "Compose", "transforms": ["RandomInvert", "RandomGrayscale"]},
    {"type": "Grayscale", "num_output_channels": 3},
]
"""Augmentations that keep [3, 8, 8]."""


TRAINING: list[dict[str, Any]] = [
    {"clip_grad_norm": 0.5},
    {"gradient_accumulation_steps": 1},
    {"ema_decay": 0.999},
    {"nan_loss": "roll_back"},
    {"skip_batches": [[3, 0], [0, 7]]},
    {"ema_decay": 0.5, "clip_grad_norm": 1},
    {"clip_grad_value": 0.1, "deterministic": False},
]

BATCH_TRANSFORMS: list[tuple[list[Any], Any, str]] = [
    (["MixUp"], "CrossEntropyLoss", "label"),
    ([{"type": "CutMix", "alpha": 0.2}], {"type": "CrossEntropyLoss", "label_smoothing": 0.1, "weight": [1, 2, 3]}, "label"),
    ([{"type": "RandomChoice", "transforms": ["MixUp", "CutMix"], "p": [0.2, 0.8]}], "CrossEntropyLoss", "one_hot"),
    (["MixUp", "CutMix"], "BCEWithLogitsLoss", "one_hot"),
    (["MixUp"], "MSELoss", "one_hot"),
]
"""With a loss and a target that they go with."""


def spec(layers: list[Any], **changes: Any) -> dict[str, Any]:
    """A spec over small made-up images of three classes."""
    dataset = {"type": "FakeData", "size": 16, "image_size": [3, 8, 8], "num_classes": 3}
    body = {
        "dataset": dataset | changes.pop("dataset", {}),
        "dataloader": {"batch_size": 8},
        "model": {"type": "Sequential", "layers": layers},
        "loss": "CrossEntropyLoss",
        "optimizer": {"type": "SGD", "lr": 0.01},
        "epochs": 1,
        "resources": {"threads": 1},
    }
    return body | changes


def with_layer(kind: str, layer: dict[str, Any]) -> dict[str, Any]:
    """A spec around one layer: what makes its input before it, a head behind it."""
    return spec([*SHAPES[kind][0], layer, "Flatten", {"type": "Linear", "out_features": 3}])


HEAD: list[Any] = ["Flatten", {"type": "Linear", "out_features": 3}]
