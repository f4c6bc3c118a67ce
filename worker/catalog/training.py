"""Losses, optimizers and schedulers: what their signatures do not say."""

from __future__ import annotations

from typing import Any

from worker.catalog.kinds import Kind, choice, declared, flag, inferred, integer, integers, name, number, numbers, share

_REDUCTION = choice("How samples are joined.", "mean", "sum")
_WEIGHT = numbers("A weight for each class.", minimum=0, nullable=True)
_FACTORS = numbers("A factor for each of the output's last dimension.", minimum=0, nullable=True)
_IGNORED = integer("A target that counts for nothing.")

LOSSES: dict[str, dict[str, Any]] = {
    "CrossEntropyLoss": {
        "help": "Cross entropy of raw logits against class labels or shares.",
        "weight": _WEIGHT,
        "ignore_index": _IGNORED,
        "reduction": _REDUCTION,
        "label_smoothing": share("Share of the target spread over all classes."),
    },
    "NLLLoss": {
        "help": "Negative log likelihood; wants LogSoftmax before it.",
        "weight": _WEIGHT,
        "ignore_index": _IGNORED,
        "reduction": _REDUCTION,
    },
    "MultiMarginLoss": {
        "help": "Hinge between the right class and the others.",
        "p": choice("Exponent.", 1, 2),
        "margin": number("Wanted distance."),
        "weight": _WEIGHT,
        "reduction": _REDUCTION,
    },
    "BCELoss": {"help": "Binary cross entropy of probabilities; wants Sigmoid before it.", "weight": _FACTORS, "reduction": _REDUCTION},
    "BCEWithLogitsLoss": {
        "help": "Binary cross entropy of raw logits.",
        "weight": _FACTORS,
        "reduction": _REDUCTION,
        "pos_weight": numbers("A weight of the positive answer for each class.", minimum=0, nullable=True),
    },
    "MultiLabelSoftMarginLoss": {
        "help": "Binary cross entropy of raw logits, a mean over classes.",
        "weight": _WEIGHT,
        "reduction": _REDUCTION,
    },
    "MSELoss": {"help": "Squared error.", "reduction": _REDUCTION},
    "L1Loss": {"help": "Absolute error.", "reduction": _REDUCTION},
    "SmoothL1Loss": {
        "help": "Squared error near zero, absolute beyond `beta`.",
        "reduction": _REDUCTION,
        "beta": number("Where it changes.", 0),
    },
    "HuberLoss": {
        "help": "Squared error near zero, absolute beyond `delta`.",
        "reduction": _REDUCTION,
        "delta": number("Where it changes.", above=0),
    },
    "PoissonNLLLoss": {
        "help": "Negative log likelihood of counts.",
        "log_input": flag("The output is the logarithm of the rate."),
        "full": flag("Add Stirling's term."),
        "eps": number("Added inside the logarithm.", above=0),
        "reduction": _REDUCTION,
    },
    "KLDivLoss": {
        "help": "Kullback-Leibler divergence of log-probabilities; wants LogSoftmax before it.",
        "reduction": choice("How samples are joined; batchmean is the mathematical one.", "mean", "sum", "batchmean"),
        "log_target": flag("The targets are logarithms too."),
    },
    "SoftMarginLoss": {"help": "log(1 + exp(-target output)), targets of -1 and 1.", "reduction": _REDUCTION},
    "HingeEmbeddingLoss": {
        "help": "The output where the target is 1, a hinge where it is -1.",
        "margin": number("Of the hinge."),
        "reduction": _REDUCTION,
    },
}

_MAXIMIZE = flag("Climb instead of descend.")
_DECAY = number("L2 penalty.", 0)
_EPS = number("Added to the denominator.", 0)


def _lr(help: str = "Learning rate.", **more: Any) -> Kind:
    return number(help, 0, **more)


_BETAS = numbers("Decay of the running mean and square of the gradient.", length=2, minimum=0, below=1)
_ADAM: Kind = {"lr": _lr(), "betas": _BETAS, "eps": _EPS, "weight_decay": _DECAY, "maximize": _MAXIMIZE}
_AMSGRAD = flag("Keep the largest square seen (AMSGrad).")
_DECOUPLED = flag("Decay the weights apart from the gradient, as AdamW does.")

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "SGD": {
        "help": "Stochastic gradient descent, with momentum if asked.",
        "lr": _lr(),
        "momentum": number("Share of the last step that is kept.", 0),
        "dampening": number("Dampening of the momentum."),
        "weight_decay": _DECAY,
        "nesterov": flag("Nesterov's momentum; needs momentum > 0 and dampening 0."),
        "maximize": _MAXIMIZE,
    },
    "Adam": {"help": "Adaptive moments (Kingma, Ba 2014).", **_ADAM, "amsgrad": _AMSGRAD, "decoupled_weight_decay": _DECOUPLED},
    "AdamW": {"help": "Adam with decoupled weight decay (Loshchilov, Hutter 2017).", **_ADAM, "amsgrad": _AMSGRAD},
    "Adamax": {"help": "Adam with the infinity norm.", **_ADAM},
    "NAdam": {
        "help": "Adam with Nesterov's momentum.",
        **_ADAM,
        "momentum_decay": number("How fast the momentum's schedule decays.", 0),
        "decoupled_weight_decay": _DECOUPLED,
    },
    "RAdam": {"help": "Adam, rectified: cautious while the variance is uncertain.", **_ADAM, "decoupled_weight_decay": _DECOUPLED},
    "Adagrad": {
        "help": "Each weight's rate falls with its squared gradients.",
        "lr": _lr(),
        "lr_decay": number("Decay of the learning rate.", 0),
        "weight_decay": _DECAY,
        "initial_accumulator_value": number("The squares' sum at the start.", 0),
        "eps": _EPS,
        "maximize": _MAXIMIZE,
    },
    "Adadelta": {
        "help": "Adagrad with a window, and no rate to tune.",
        "lr": _lr(),
        "rho": share("Decay of the running square."),
        "eps": _EPS,
        "weight_decay": _DECAY,
        "maximize": _MAXIMIZE,
    },
    "Adafactor": {
        "help": "Adam in little memory: squares kept by rows and columns.",
        "lr": _lr(),
        "beta2_decay": number("Exponent of the square's decay.", maximum=0),
        "d": number("Clips the update.", 1),
        "weight_decay": _DECAY,
        "maximize": _MAXIMIZE,
    },
    "RMSprop": {
        "help": "Divides by the root of a running square.",
        "lr": _lr(),
        "alpha": share("Decay of the running square."),
        "eps": _EPS,
        "weight_decay": _DECAY,
        "momentum": number("Share of the last step that is kept.", 0),
        "centered": flag("Normalise by the variance, not the square."),
        "maximize": _MAXIMIZE,
    },
    "Rprop": {
        "help": "Uses the gradient's sign only; for whole-data batches.",
        "lr": _lr(),
        "etas": numbers("Factors of a smaller and a larger step.", length=2, above=0),
        "step_sizes": numbers("Smallest and largest step.", length=2, above=0),
        "maximize": _MAXIMIZE,
    },
    "ASGD": {
        "help": "SGD with averaged weights.",
        "lr": _lr(),
        "lambd": number("Decay.", 0),
        "alpha": number("Exponent of the rate's decay."),
        "t0": number("When averaging starts.", 0),
        "weight_decay": _DECAY,
        "maximize": _MAXIMIZE,
    },
    "Muon": {
        "help": "Momentum made orthogonal; for parameters of two dimensions only.",
        "lr": _lr(),
        "weight_decay": _DECAY,
        "momentum": number("Share of the last step that is kept.", 0),
        "nesterov": flag("Nesterov's momentum."),
        "ns_coefficients": numbers("Of the Newton-Schulz iteration.", length=3),
        "eps": _EPS,
        "ns_steps": integer("Newton-Schulz iterations.", 1, below=100),
        "adjust_lr_fn": choice("How the rate follows the matrix's shape.", "original", "match_rms_adamw", nullable=True),
    },
}

_STRETCH = "null: over the whole training, or its stretch of a SequentialLR."
_TOTAL = integer(f"Over how many steps of the schedule. {_STRETCH}", 1, nullable=True)
_RATES = number("One, or one for each parameter group.", 0, many="any")
_INTERVAL = choice("Step it after every optimizer step, or every epoch.", "step", "epoch", default="epoch", ours=True)
_STEPWISE = _INTERVAL | {"default": "step"}

SCHEDULERS: dict[str, dict[str, Any]] = {
    "StepLR": {
        "help": "Times gamma every `step_size`.",
        "step_size": integer("Steps between.", 1),
        "gamma": number("Factor.", above=0),
        "interval": _INTERVAL,
    },
    "MultiStepLR": {
        "help": "Times gamma at each milestone.",
        "milestones": integers("When.", minimum=0),
        "gamma": number("Factor.", above=0),
        "interval": _INTERVAL,
    },
    "ConstantLR": {
        "help": "A smaller rate at first.",
        "factor": share("Factor at first."),
        "total_iters": integer(f"For how many steps of the schedule. {_STRETCH}", 0, nullable=True),
        "interval": _INTERVAL,
    },
    "LinearLR": {
        "help": "From one factor to another, in a straight line: the usual warm-up.",
        "start_factor": number("At first.", above=0, maximum=1),
        "end_factor": share("At last."),
        "total_iters": _TOTAL,
        "interval": _INTERVAL,
    },
    "ExponentialLR": {"help": "Times gamma every step.", "gamma": number("Factor.", above=0), "interval": _INTERVAL},
    "PolynomialLR": {
        "help": "Down to zero along a power.",
        "total_iters": _TOTAL,
        "power": number("Exponent.", above=0),
        "interval": _INTERVAL,
    },
    "CosineAnnealingLR": {
        "help": "Down along half a cosine.",
        "T_max": inferred("Steps until the lowest rate; left out, as many as the training or its stretch of a SequentialLR has."),
        "eta_min": number("Lowest rate.", 0),
        "interval": _INTERVAL,
    },
    "CosineAnnealingWarmRestarts": {
        "help": "Half cosines, one after the other.",
        "T_0": integer("Steps of the first.", 1),
        "T_mult": integer("How much longer each next one is.", 1),
        "eta_min": number("Lowest rate.", 0),
        "interval": _INTERVAL,
    },
    "CyclicLR": {
        "help": "Up and down between two rates.",
        "base_lr": _RATES | {"help": "Lowest rate, or one for each parameter group."},
        "max_lr": _RATES | {"help": "Highest rate, or one for each parameter group."},
        "step_size_up": integer("Steps up.", 1),
        "step_size_down": integer("Steps down; as many as up if left out.", 1, nullable=True),
        "mode": choice("How the height changes.", "triangular", "triangular2", "exp_range"),
        "gamma": number("Of exp_range.", above=0),
        "scale_mode": choice("What gamma counts.", "cycle", "iterations"),
        "cycle_momentum": flag("Move the momentum the other way; the optimizer must have one."),
        "base_momentum": share("Lowest momentum."),
        "max_momentum": share("Highest momentum."),
        "interval": _STEPWISE,
    },
    "OneCycleLR": {
        "help": "Up once and down far, over the whole training (Smith, Topin 2017).",
        "max_lr": _RATES | {"above": 0, "help": "Highest rate, or one for each parameter group."},
        "total_steps": inferred("Steps in all."),
        "pct_start": number("Share spent going up.", above=0, below=1),
        "anneal_strategy": choice("Shape of the way down.", "cos", "linear"),
        "cycle_momentum": flag("Move the momentum the other way; the optimizer must have one."),
        "base_momentum": share("Lowest momentum."),
        "max_momentum": share("Highest momentum."),
        "div_factor": number("The first rate is max_lr divided by this.", above=0),
        "final_div_factor": number("The last rate is the first divided by this.", above=0),
        "three_phase": flag("Come down to the first rate, then further."),
        "interval": _STEPWISE,
    },
    "ReduceLROnPlateau": {
        "help": "Times `factor` once a value has stopped to improve.",
        "mode": choice("Whether less or more is better.", "min", "max"),
        "factor": number("Factor.", 0, below=1),
        "patience": integer("Epochs without improvement that are borne.", 0),
        "threshold": number("What counts as improvement.", 0),
        "threshold_mode": choice("As a share, or in itself.", "rel", "abs"),
        "cooldown": integer("Epochs to wait after a change.", 0),
        "min_lr": number("Lowest rate.", 0),
        "eps": number("Smallest change that is made.", 0),
        "monitor": name("The value, named as in checkpoint.monitor.", default="train_loss", ours=True),
    },
    "SequentialLR": {
        "help": "Schedules one after the other.",
        "schedulers": declared("Them, in order.", "schedulers"),
        "milestones": integers("When the second, third, ... takes over.", minimum=1),
        "interval": _INTERVAL,
    },
    "ChainedScheduler": {
        "help": "Schedules at the same time: their factors multiply.",
        "schedulers": declared("Them.", "schedulers"),
        "interval": _INTERVAL,
    },
}
