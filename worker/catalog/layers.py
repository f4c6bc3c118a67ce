"""What torch.nn's signatures do not say of its layers: kinds, ranges, help. An entry: the class's help, then its arguments."""

from __future__ import annotations

from typing import Any

from worker.catalog.kinds import Kind, choice, flag, inferred, integer, integers, number, share

_SPACE = {1: "[channels, length]", 2: "[channels, height, width]", 3: "[channels, depth, height, width]"}
_INPLACE = flag("Write into the input; saves memory.")
_BIAS = flag("Learn an offset.")
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")
_EPS = number("Added to the denominator.", 0)
_FIRST = flag("The batch is the first dimension, as a DataLoader makes it.", default=True, ours=True)
_RETURNS = choice(
    "`sequence` hands on every step's output, `last` the last layer's final hidden state.",
    "sequence",
    "last",
    default="sequence",
    ours=True,
)


def _conv(d: int) -> Kind:
    return {
        "help": f"{d}-d convolution over {_SPACE[d]}.",
        "in_channels": inferred("Channels of the input."),
        "out_channels": integer("Channels of the output.", 1),
        "kernel_size": integer("Size of the window.", 1, many=[d]),
        "stride": integer("Step of the window.", 1, many=[d]),
        "padding": integer("Added on both sides; `same` keeps the size.", 0, many=[d], words=["same", "valid"]),
        "dilation": integer("Spacing inside the window.", 1, many=[d]),
        "groups": integer("Blocked connections from inputs to outputs.", 1),
        "bias": _BIAS,
        "padding_mode": choice("What is added.", *_PADDING_MODES),
    }


def _conv_transpose(d: int) -> Kind:
    return {
        "help": f"{d}-d transposed convolution over {_SPACE[d]}: makes it larger.",
        "in_channels": inferred("Channels of the input."),
        "out_channels": integer("Channels of the output.", 1),
        "kernel_size": integer("Size of the window.", 1, many=[d]),
        "stride": integer("Step of the window in the output.", 1, many=[d]),
        "padding": integer("Taken off on both sides.", 0, many=[d]),
        "output_padding": integer("Added on one side of the output; less than stride or dilation.", 0, many=[d]),
        "groups": integer("Blocked connections from inputs to outputs.", 1),
        "bias": _BIAS,
        "dilation": integer("Spacing inside the window.", 1, many=[d]),
        "padding_mode": choice("torch knows zeros only.", "zeros"),
    }


def _max_pool(d: int) -> Kind:
    return {
        "help": f"The largest value in each window of {_SPACE[d]}.",
        "kernel_size": integer("Size of the window.", 1, many=[d]),
        "stride": integer("Step of the window; the kernel size if left out.", 1, many=[d], nullable=True),
        "padding": integer("Minus infinity added on both sides; at most half the kernel.", 0, many=[d]),
        "dilation": integer("Spacing inside the window.", 1, many=[d]),
        "ceil_mode": flag("Round the output size up."),
    }


def _avg_pool(d: int) -> Kind:
    return {
        "help": f"The mean of each window of {_SPACE[d]}.",
        "kernel_size": integer("Size of the window.", 1, many=[d]),
        "stride": integer("Step of the window; the kernel size if left out.", 1, many=[d], nullable=True),
        "padding": integer("Zeros added on both sides; at most half the kernel.", 0, many=[d]),
        "ceil_mode": flag("Round the output size up."),
        "count_include_pad": flag("Let padding count in the mean."),
    } | ({"divisor_override": integer("Divide by this instead of the window's size.", 1, nullable=True)} if d > 1 else {})


def _lp_pool(d: int) -> Kind:
    return {
        "help": f"The p-norm of each window of {_SPACE[d]}.",
        "norm_type": number("p.", above=0),
        "kernel_size": integer("Size of the window.", 1, many=[d] if d > 1 else []),
        "stride": integer("Step of the window; the kernel size if left out.", 1, many=[d] if d > 1 else [], nullable=True),
        "ceil_mode": flag("Round the output size up."),
    }


def _adaptive(d: int, what: str) -> Kind:
    size = integer("Wanted size; null keeps the input's.", 1, many=[d], nullable=d > 1, nullable_items=d > 1)
    return {"help": f"{what} over as many windows as give the wanted size.", "output_size": size}


def _fractional(d: int) -> Kind:
    return {
        "help": f"The largest value in windows of random place and step over {_SPACE[d]}.",
        "kernel_size": integer("Size of the window.", 1, many=[d]),
        "output_size": integer("Wanted size; or give output_ratio.", 1, many=[d], nullable=True),
        "output_ratio": number("Wanted share of the input's size.", above=0, below=1, many=[d], nullable=True),
    }


def _padding(d: int, what: str, *, minimum: int | None = None) -> Kind:
    size = integer("On every side, or [left, right, top, bottom, ...].", minimum, many=[2 * d])
    return {"help": f"Adds {what} around {_SPACE[d]}.", "padding": size}


def _batch_norm(what: str) -> Kind:
    return {
        "help": f"Normalise {what} over the batch.",
        "num_features": inferred("Channels of the input."),
        "eps": number("Added to the variance.", 0),
        "momentum": number("Of the running statistics, usually 0 to 1; null averages over all batches.", nullable=True),
        "affine": flag("Learn a scale and a shift."),
        "bias": flag("Learn the shift, where `affine`."),
        "track_running_stats": flag("Keep running statistics for evaluation."),
    }


def _instance_norm(d: int) -> Kind:
    return {
        "help": f"Normalise each channel of each sample over {_SPACE[d]}.",
        "num_features": inferred("Channels of the input."),
        "eps": number("Added to the variance.", 0),
        "momentum": number("Of the running statistics, usually 0 to 1."),
        "affine": flag("Learn a scale and a shift."),
        "bias": flag("Learn the shift, where `affine`."),
        "track_running_stats": flag("Keep running statistics for evaluation."),
    }


def _dropout(what: str) -> Kind:
    return {"help": f"Zero {what} at random in training.", "p": share("Share that is zeroed."), "inplace": _INPLACE}


def _recurrent(what: str, **more: Kind) -> Kind:
    # nn.RNN and its kin take *args: these defaults are RNNBase's
    return {
        "help": f"{what} over [steps, features].",
        "input_size": inferred("Features of each step."),
        "hidden_size": integer("Features of the hidden state.", 1),
        "num_layers": integer("Layers on top of each other.", 1, default=1),
        **more,
        "bias": flag("Learn offsets.", default=True),
        "batch_first": _FIRST,
        "dropout": share("Share zeroed between layers.", default=0.0),
        "bidirectional": flag("Run from both ends and join the features.", default=False),
        "returns": _RETURNS,
    }


def _cell(what: str, **more: Kind) -> Kind:
    return {
        "help": f"{what}: one step over [features], from a hidden state of zeros.",
        "input_size": inferred("Features of the input."),
        "hidden_size": integer("Features of the hidden state.", 1),
        "bias": flag("Learn offsets."),
        **more,
    }


def _activation(help: str, **arguments: Kind) -> Kind:
    return {"help": help, **arguments}


def _over(help: str) -> Kind:
    return {"help": help, "dim": integer("Along which dimension, the batch being 0; 1 if left out.", nullable=True, default=1, ours=True)}


def _transformer(help: str) -> Kind:
    return {
        "help": help,
        "d_model": inferred("Features of each token."),
        "nhead": integer("Heads; they share the features equally.", 1),
        "dim_feedforward": integer("Features inside the feed-forward part.", 1),
        "dropout": share("Share zeroed in training."),
        "activation": choice("Of the feed-forward part.", "relu", "gelu", default="relu", ours=True),
        "layer_norm_eps": number("Added to the variance.", 0),
        "batch_first": _FIRST,
        "norm_first": flag("Normalise before attention and feed-forward, not after."),
        "bias": flag("Learn offsets."),
    }


def _tokens(help: str) -> Kind:
    return {
        "help": help,
        "num_embeddings": integer("How many indices there are.", 1),
        "embedding_dim": integer("Features of each vector.", 1),
        "max_norm": number("Shorten vectors to this norm.", above=0, nullable=True),
        "norm_type": number("p of that norm.", above=0),
        "scale_grad_by_freq": flag("Divide gradients by how often an index is in the batch."),
        "padding_idx": integer("An index whose vector stays as it is.", nullable=True),
    }


_SHRUNK = number("Width of the band that becomes zero.", 0)
_ELU_ALPHA = number("Limit of the negative part.")

LAYERS: dict[str, dict[str, Any]] = {
    "Identity": {"help": "The input itself."},
    "Linear": {
        "help": "y = x W^T + b over the last dimension.",
        "in_features": inferred("Size of the input's last dimension."),
        "out_features": integer("Size of the output's last dimension.", 1),
        "bias": _BIAS,
    },
    "Bilinear": {
        "help": "y = x1 A x2 + b of two inputs; in a Graph.",
        "in1_features": inferred("Size of the first input's last dimension."),
        "in2_features": inferred("Size of the second input's last dimension."),
        "out_features": integer("Size of the output's last dimension.", 1),
        "bias": _BIAS,
    },
    **{f"Conv{d}d": _conv(d) for d in (1, 2, 3)},
    **{f"ConvTranspose{d}d": _conv_transpose(d) for d in (1, 2, 3)},
    "Unfold": {
        "help": "Windows of an image as columns.",
        "kernel_size": integer("Size of the window.", 1, many=[2]),
        "dilation": integer("Spacing inside the window.", 1, many=[2]),
        "padding": integer("Zeros on both sides.", 0, many=[2]),
        "stride": integer("Step of the window.", 1, many=[2]),
    },
    "Fold": {
        "help": "Columns back into an image; overlapping windows add up.",
        "output_size": integer("Height and width of the image.", 1, many=[2]),
        "kernel_size": integer("Size of the window.", 1, many=[2]),
        "dilation": integer("Spacing inside the window.", 1, many=[2]),
        "padding": integer("Zeros on both sides.", 0, many=[2]),
        "stride": integer("Step of the window.", 1, many=[2]),
    },
    **{f"MaxPool{d}d": _max_pool(d) for d in (1, 2, 3)},
    **{f"AvgPool{d}d": _avg_pool(d) for d in (1, 2, 3)},
    **{f"LPPool{d}d": _lp_pool(d) for d in (1, 2, 3)},
    **{f"AdaptiveAvgPool{d}d": _adaptive(d, "The mean") for d in (1, 2, 3)},
    **{f"AdaptiveMaxPool{d}d": _adaptive(d, "The largest value") for d in (1, 2, 3)},
    **{f"FractionalMaxPool{d}d": _fractional(d) for d in (2, 3)},
    **{f"ReflectionPad{d}d": _padding(d, "a mirror image") for d in (1, 2, 3)},
    **{f"ReplicationPad{d}d": _padding(d, "copies of the edge") for d in (1, 2, 3)},
    **{f"CircularPad{d}d": _padding(d, "the other side", minimum=0) for d in (1, 2, 3)},
    **{f"ZeroPad{d}d": _padding(d, "zeros") for d in (1, 2, 3)},
    **{f"ConstantPad{d}d": _padding(d, "a value") | {"value": number("The value.")} for d in (1, 2, 3)},
    "Flatten": {
        "help": "Join dimensions into one; by default all but the batch.",
        "start_dim": integer("First dimension to join, the batch being 0."),
        "end_dim": integer("Last dimension to join."),
    },
    "Unflatten": {
        "help": "Split one dimension into several.",
        "dim": integer("Which one, the batch being 0."),
        "unflattened_size": integers("The new sizes; one may be -1.", minimum=-1),
    },
    "Dropout": _dropout("elements"),
    "Dropout1d": _dropout("whole channels of [channels, length]"),
    "Dropout2d": _dropout("whole channels of [channels, height, width]"),
    "Dropout3d": _dropout("whole channels of [channels, depth, height, width]"),
    "AlphaDropout": _dropout("elements, keeping SELU's mean and variance,"),
    "FeatureAlphaDropout": _dropout("whole channels, keeping SELU's mean and variance,"),
    "BatchNorm1d": _batch_norm("each feature"),
    "BatchNorm2d": _batch_norm("each channel of [channels, height, width]"),
    "BatchNorm3d": _batch_norm("each channel of [channels, depth, height, width]"),
    **{f"InstanceNorm{d}d": _instance_norm(d) for d in (1, 2, 3)},
    "GroupNorm": {
        "help": "Normalise groups of channels of each sample.",
        "num_groups": integer("Groups; they share the channels equally.", 1),
        "num_channels": inferred("Channels of the input."),
        "eps": number("Added to the variance.", 0),
        "affine": flag("Learn a scale and a shift."),
        "bias": flag("Learn the shift, where `affine`."),
    },
    "LayerNorm": {
        "help": "Normalise each sample over its last dimensions.",
        "normalized_shape": inferred("Those dimensions' sizes; the last one's if left out.", many="any"),
        "eps": number("Added to the variance.", 0),
        "elementwise_affine": flag("Learn a scale and a shift."),
        "bias": flag("Learn the shift."),
    },
    "RMSNorm": {
        "help": "Divide each sample by the root mean square over its last dimensions.",
        "normalized_shape": inferred("Those dimensions' sizes; the last one's if left out.", many="any"),
        "eps": number("Added to the mean square; null is the number type's own.", 0, nullable=True),
        "elementwise_affine": flag("Learn a scale."),
    },
    "LocalResponseNorm": {
        "help": "Normalise over neighbouring channels.",
        "size": integer("How many neighbours.", 1),
        "alpha": number("Factor of the squares' sum."),
        "beta": number("Exponent."),
        "k": number("Added to it."),
    },
    "RNN": _recurrent("Plain recurrent net", nonlinearity=choice("Its activation.", "tanh", "relu", default="tanh")),
    "LSTM": _recurrent("Long short-term memory", proj_size=integer("Project the hidden state to this size; 0: no.", 0, default=0)),
    "GRU": _recurrent("Gated recurrent unit"),
    "RNNCell": _cell("Plain recurrent cell", nonlinearity=choice("Its activation.", "tanh", "relu")),
    "LSTMCell": _cell("Long short-term memory cell"),
    "GRUCell": _cell("Gated recurrent cell"),
    "MultiheadAttention": {
        "help": "Attention of [tokens, features] to itself; in a Graph of query to key and value.",
        "embed_dim": inferred("Features of each token."),
        "num_heads": integer("Heads; they share the features equally.", 1),
        "dropout": share("Share of the attention zeroed in training."),
        "bias": flag("Learn offsets."),
        "add_bias_kv": flag("Learn one more key and value."),
        "add_zero_attn": flag("Add a key and a value of zeros."),
        "kdim": integer("Features of each key, if other than embed_dim.", 1, nullable=True),
        "vdim": integer("Features of each value, if other than embed_dim.", 1, nullable=True),
        "batch_first": _FIRST,
    },
    "TransformerEncoderLayer": _transformer("Self-attention and a feed-forward part over [tokens, features]."),
    "TransformerDecoderLayer": _transformer("Self-attention, attention to a memory, and a feed-forward part; two inputs, in a Graph."),
    "Transformer": {
        "help": "A whole encoder and decoder; two inputs, source and target, in a Graph.",
        **{name: kind for name, kind in _transformer("").items() if name not in ("help", "d_model", "nhead")},
        "d_model": integer("Features of each token.", 1),
        "nhead": integer("Heads; they share the features equally.", 1),
        "num_encoder_layers": integer("Layers of the encoder.", 1),
        "num_decoder_layers": integer("Layers of the decoder.", 1),
    },
    "Embedding": _tokens("A learnt vector for each index."),
    "EmbeddingBag": _tokens("A learnt vector for each index, joined over the last dimension.")
    | {"mode": choice("How they are joined.", "mean", "sum", "max")},
    "CosineSimilarity": {
        "help": "Of two inputs; in a Graph.",
        "dim": integer("Along which dimension, the batch being 0."),
        "eps": _EPS,
    },
    "PairwiseDistance": {
        "help": "Of two inputs, over the last dimension; in a Graph.",
        "p": number("p of the norm."),
        "eps": number("Added to the difference."),
        "keepdim": flag("Keep that dimension, of size 1."),
    },
    "PixelShuffle": {"help": "Channels into space: a larger image.", "upscale_factor": integer("Factor.", 1)},
    "PixelUnshuffle": {"help": "Space into channels: a smaller image.", "downscale_factor": integer("Factor.", 1)},
    "ChannelShuffle": {"help": "Interleave groups of channels.", "groups": integer("How many.", 1)},
    "Upsample": {
        "help": "A larger image, sequence or volume.",
        "size": integer("Wanted size; or give scale_factor.", 1, many=[1, 2, 3], nullable=True),
        "scale_factor": number("Factor.", above=0, many=[1, 2, 3], nullable=True),
        "mode": choice("How values between are found.", "nearest", "linear", "bilinear", "bicubic", "trilinear"),
        "align_corners": flag("Keep corner pixels in their places.", nullable=True),
        "recompute_scale_factor": flag("Find the factor again from the sizes.", nullable=True),
    },
    "UpsamplingNearest2d": {
        "help": "A larger image: each pixel repeated.",
        "size": integer("Wanted size; or give scale_factor.", 1, many=[2], nullable=True),
        "scale_factor": number("Factor.", above=0, many=[2], nullable=True),
    },
    "UpsamplingBilinear2d": {
        "help": "A larger image, linear between pixels, corners kept.",
        "size": integer("Wanted size; or give scale_factor.", 1, many=[2], nullable=True),
        "scale_factor": number("Factor.", above=0, many=[2], nullable=True),
    },
    "ReLU": _activation("max(0, x).", inplace=_INPLACE),
    "ReLU6": _activation("x between 0 and 6.", inplace=_INPLACE),
    "LeakyReLU": _activation("x where positive, else a little of it.", negative_slope=number("How much."), inplace=_INPLACE),
    "PReLU": _activation(
        "LeakyReLU with a learnt slope.",
        num_parameters=integer("One slope, or one for each channel.", 1),
        init=number("The slope at the start."),
    ),
    "RReLU": _activation(
        "LeakyReLU with a random slope in training.",
        lower=number("Smallest slope."),
        upper=number("Largest slope."),
        inplace=_INPLACE,
    ),
    "ELU": _activation("x where positive, else alpha (exp(x) - 1).", alpha=_ELU_ALPHA, inplace=_INPLACE),
    "CELU": _activation(
        "ELU with a smooth first derivative.", alpha=number("Limit of the negative part; not 0.", above=0), inplace=_INPLACE
    ),
    "SELU": _activation("ELU, scaled so that mean and variance keep themselves.", inplace=_INPLACE),
    "GELU": _activation("x times the normal distribution's share below it.", approximate=choice("Exact, or by tanh.", "none", "tanh")),
    "SiLU": _activation("x sigmoid(x).", inplace=_INPLACE),
    "Mish": _activation("x tanh(softplus(x)).", inplace=_INPLACE),
    "Softplus": _activation("A smooth ReLU.", beta=number("Sharpness.", above=0), threshold=number("Above it the function is x itself.")),
    "Softsign": _activation("x / (1 + |x|)."),
    "Softshrink": _activation("x drawn towards zero by a constant.", lambd=_SHRUNK),
    "Hardshrink": _activation("x outside a band, else zero.", lambd=_SHRUNK),
    "Tanhshrink": _activation("x - tanh(x)."),
    "Tanh": _activation("Hyperbolic tangent: -1 to 1."),
    "Hardtanh": _activation("x between two limits.", min_val=number("Lower."), max_val=number("Upper."), inplace=_INPLACE),
    "Sigmoid": _activation("1 / (1 + exp(-x)): 0 to 1."),
    "LogSigmoid": _activation("Logarithm of Sigmoid."),
    "Hardsigmoid": _activation("Sigmoid in straight pieces.", inplace=_INPLACE),
    "Hardswish": _activation("SiLU in straight pieces.", inplace=_INPLACE),
    "Threshold": _activation(
        "x above a threshold, else a value.", threshold=number("The threshold."), value=number("The value."), inplace=_INPLACE
    ),
    "GLU": {"help": "One half of a dimension, gated by the other's sigmoid.", "dim": integer("Which dimension, the batch being 0.")},
    "Softmax": _over("Exponentials that sum to one."),
    "Softmin": _over("Softmax of -x."),
    "LogSoftmax": _over("Logarithm of Softmax."),
    "Softmax2d": {"help": "Softmax over the channels at each pixel."},
}

OURS: dict[str, dict[str, Any]] = {
    "Permute": {
        "help": "Dimensions in another order, as torch.permute.",
        "args": {"dims": integers("The new order; the batch is 0 and stays first.", minimum=0)},
    },
    "Add": {"help": "The sum of its inputs; in a Graph.", "args": {}},
    "Multiply": {"help": "The product of its inputs; in a Graph.", "args": {}},
    "MatMul": {"help": "The matrix product of its two inputs; in a Graph.", "args": {}},
    "Cat": {
        "help": "Its inputs joined along a dimension, as torch.cat; in a Graph.",
        "args": {"dim": integer("Along which, the batch being 0.", 1, default=1)},
    },
}
"""Layers that torch.nn does not have as a class; `worker.training.blocks` defines them, and train.py carries their source."""
