"""Metrics: what their signatures do not say."""

from __future__ import annotations

from typing import Any

from worker.catalog.kinds import Kind, choice, flag, integer, number, share

_CLASS_MEAN = choice("How classes are joined.", "micro", "macro", "weighted", "none")
_TOP = integer("Right if among the k best.", 1, nullable=True)
_IGNORED = integer("A label that counts for nothing.", nullable=True)
_STEPS = integer("Thresholds between 0 and 1; null takes every output as one, which needs memory.", 2, nullable=True)
_ZERO = number("Value where nothing was found.")
_REDUCTION = choice("How samples are joined.", "mean", "sum")


def _counted(help: str, **more: Kind) -> Kind:
    return {"help": help, "task": "classification", "average": _CLASS_MEAN, "top_k": _TOP, "ignore_index": _IGNORED, **more}


def _ranked(help: str, **more: Kind) -> Kind:
    return {"help": help, "task": "classification", "thresholds": _STEPS, "ignore_index": _IGNORED, **more}


def _classified(help: str, **more: Kind) -> Kind:
    return {"help": help, "task": "classification", "ignore_index": _IGNORED, **more}


def _regressed(help: str, **more: Kind) -> Kind:
    return {"help": help, "task": "regression", **more}


_AT = {"thresholds": _STEPS | {"default": 200, "ours": True}}

METRICS: dict[str, dict[str, Any]] = {
    "Accuracy": _counted("Share of right answers."),
    "Precision": _counted("Share of a class's answers that are right."),
    "Recall": _counted("Share of a class's samples that are found."),
    "Specificity": _counted("Share of the other samples that are left alone."),
    "NegativePredictiveValue": _counted("Share of the other answers that are right."),
    "F1Score": _counted("Harmonic mean of precision and recall.", zero_division=_ZERO),
    "FBetaScore": _counted("F1Score with recall weighted.", beta=number("Weight of the recall.", above=0), zero_division=_ZERO),
    "HammingDistance": _counted("Share of wrong answers."),
    "StatScores": _counted("True and false positives and negatives."),
    "JaccardIndex": _classified(
        "Intersection over union.", average=choice("How classes are joined.", "micro", "macro", "weighted", "none")
    ),
    "MatthewsCorrCoef": _classified("Correlation of answers and labels."),
    "CohenKappa": _classified(
        "Agreement beyond chance.", weights=choice("Of disagreements.", "linear", "quadratic", "none", nullable=True)
    ),
    "ConfusionMatrix": _classified(
        "Counts by true (rows) and predicted class.",
        normalize=choice("Over what.", "true", "pred", "all", "none", nullable=True),
    ),
    "CalibrationError": _classified(
        "Distance of confidence and accuracy.",
        n_bins=integer("Bins of confidence.", 1),
        norm=choice("How bins are joined.", "l1", "l2", "max"),
    ),
    "HingeLoss": _classified(
        "Mean hinge loss.",
        squared=flag("Squared."),
        multiclass_mode=choice("Of many classes.", "crammer-singer", "one-vs-all", nullable=True),
    ),
    "AUROC": _ranked("Area under the ROC curve.", average=choice("How classes are joined.", "macro", "weighted", "none")),
    "AveragePrecision": _ranked(
        "Area under the precision-recall curve.", average=choice("How classes are joined.", "macro", "weighted", "none")
    ),
    "ROC": _ranked("False and true positives by threshold.", **_AT),
    "PrecisionRecallCurve": _ranked("Precision and recall by threshold.", **_AT),
    "PrecisionAtFixedRecall": _ranked("Best precision at a recall, by class.", min_recall=share("The recall."), **_AT),
    "RecallAtFixedPrecision": _ranked("Best recall at a precision, by class.", min_precision=share("The precision."), **_AT),
    "SensitivityAtSpecificity": _ranked("Best sensitivity at a specificity.", min_specificity=share("The specificity."), **_AT),
    "SpecificityAtSensitivity": _ranked("Best specificity at a sensitivity.", min_sensitivity=share("The sensitivity."), **_AT),
    "MeanSquaredError": _regressed("Mean squared error.", squared=flag("False takes its root.")),
    "MeanAbsoluteError": _regressed("Mean absolute error."),
    "MeanAbsolutePercentageError": _regressed("Mean absolute error as a share."),
    "SymmetricMeanAbsolutePercentageError": _regressed("The same, of both."),
    "WeightedMeanAbsolutePercentageError": _regressed("Sum of errors by sum of targets."),
    "MeanSquaredLogError": _regressed("Mean squared error of logarithms."),
    "LogCoshError": _regressed("Mean log cosh of the error."),
    "MinkowskiDistance": _regressed("p-norm of the error.", p=number("p.", 1)),
    "NormalizedRootMeanSquaredError": _regressed(
        "Root mean squared error by a scale.", normalization=choice("The scale.", "mean", "range", "std", "l2")
    ),
    "RelativeSquaredError": _regressed("Squared error by that of the mean.", squared=flag("False takes its root.")),
    "R2Score": _regressed(
        "Share of the variance explained.",
        adjusted=integer("Degrees of freedom to adjust for.", 0),
        multioutput=choice("How outputs are joined.", "uniform_average", "raw_values", "variance_weighted"),
    ),
    "ExplainedVariance": _regressed(
        "Share of the variance explained, whatever the mean.",
        multioutput=choice("How outputs are joined.", "uniform_average", "raw_values", "variance_weighted"),
    ),
    "PearsonCorrCoef": _regressed("Linear correlation."),
    "SpearmanCorrCoef": _regressed("Correlation of ranks."),
    "KendallRankCorrCoef": _regressed("Agreement of orders.", variant=choice("Of ties.", "a", "b", "c")),
    "ConcordanceCorrCoef": _regressed("Correlation that minds scale and place."),
    "CosineSimilarity": _regressed("Of output and target.", reduction=_REDUCTION),
    "KLDivergence": _regressed("Kullback-Leibler divergence of shares.", log_prob=flag("Outputs are logarithms."), reduction=_REDUCTION),
    "JensenShannonDivergence": _regressed("Its symmetric form.", log_prob=flag("Outputs are logarithms."), reduction=_REDUCTION),
    "TweedieDevianceScore": _regressed("Deviance of the Tweedie family.", power=number("0 normal, 1 Poisson, 2 gamma.")),
    "CriticalSuccessIndex": _regressed("Hits by hits, misses and false alarms.", threshold=number("What counts as an event.")),
}

OF_MANY_NUMBERS = frozenset(("ConfusionMatrix", "StatScores", "ROC", "PrecisionRecallCurve"))
OF_MANY_NUMBERS |= {"PrecisionAtFixedRecall", "RecallAtFixedPrecision", "SensitivityAtSpecificity", "SpecificityAtSensitivity"}
"""Metrics whose value is a list or a table, whatever their arguments."""
