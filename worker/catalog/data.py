"""Transforms, data sets and metrics: what their signatures do not say."""

from __future__ import annotations

from typing import Any

from worker.catalog.kinds import Kind, choice, declared, flag, integer, name, number, numbers, share

_SIZE = integer("Height and width, or one number.", 1, many=[1, 2])
_FILL = number("Value of new pixels, or one for each channel.", many="any", nullable=True)
_SMOOTH = choice("How values between pixels are found.", "nearest", "nearest-exact", "bilinear", "bicubic", "box", "hamming", "lanczos")
_ANTIALIAS = flag("Smooth before making smaller.", nullable=True)
_CHANCE = share("How often.")
_RATIO = {"length": 2, "above": 0}
_DTYPE = choice("Number type.", "float32", "float64", "float16", "bfloat16", "uint8", "int16", "int32", "int64", "bool")
_INPLACE = flag("Write into the input; saves memory.")


def _plain(help: str, **arguments: Kind) -> Kind:
    return {"help": help, **arguments}


def _jitter(what: str) -> Kind:
    return number(f"{what}: up to this much either way, or [least, most].", 0, many=[2], nullable=True)


TRANSFORMS: dict[str, dict[str, Any]] = {
    "ToImage": _plain("To a [channels, height, width] tensor of bytes."),
    "ToTensor": _plain("To a float32 tensor, bytes divided by 255. torch advises ToImage and ToDtype instead."),
    "PILToTensor": _plain("To a [channels, height, width] tensor of bytes."),
    "ToPILImage": _plain("Back to an image.", mode=choice("Kind of image.", "L", "RGB", nullable=True)),
    "ToPureTensor": _plain("A plain tensor, without what torchvision knows of it."),
    "Identity": _plain("The sample itself."),
    "ToDtype": _plain(
        "To another number type; `scale` maps 0-255 to 0-1.",
        dtype=_DTYPE,
        scale=flag("Map the old type's range to the new one's."),
    ),
    "ConvertImageDtype": _plain("To another number type, with its range.", dtype=_DTYPE),
    "Normalize": _plain(
        "(x - mean) / std, per channel.",
        mean=numbers("One for each channel."),
        std=numbers("One for each channel.", above=0),
        inplace=_INPLACE,
    ),
    "Resize": _plain(
        "To a height and width; one number is the shorter side.",
        size=_SIZE | {"nullable": True},
        interpolation=_SMOOTH,
        max_size=integer("Longest the longer side may be.", 1, nullable=True),
        antialias=_ANTIALIAS,
    ),
    "CenterCrop": _plain("The middle; padded with zeros where too small.", size=_SIZE),
    "Pad": _plain(
        "Pixels added around.",
        padding=integer("On every side, [left and right, top and bottom], or all four.", 0, many=[1, 2, 4]),
        fill=_FILL,
        padding_mode=choice("What is added.", "constant", "edge", "reflect", "symmetric"),
    ),
    "Grayscale": _plain("Without colour.", num_output_channels=choice("One, or three equal ones.", 1, 3)),
    "RGB": _plain("Three channels; a grey image three times."),
    "GaussianBlur": _plain(
        "Blur.",
        kernel_size=integer("Size of the window, odd.", 1, many=[2]),
        sigma=number("Its width, or [least, most].", above=0, many=[2]),
    ),
    "GaussianNoise": _plain(
        "Noise added.", mean=number("Its mean."), sigma=number("Its standard deviation.", 0), clip=flag("Keep values in 0 to 1.")
    ),
    "JPEG": _plain("Compress and decompress.", quality=integer("1 to 100, or [least, most].", 1, maximum=100, many=[2])),
    "RandomCrop": _plain(
        "A window of random place.",
        size=_SIZE,
        padding=integer("Added around first.", 0, many=[1, 2, 4], nullable=True),
        pad_if_needed=flag("Add what is missing of the size."),
        fill=_FILL,
        padding_mode=choice("What is added.", "constant", "edge", "reflect", "symmetric"),
    ),
    "RandomResizedCrop": _plain(
        "A window of random place and size, resized.",
        size=_SIZE,
        scale=numbers("Least and largest share of the area.", **_RATIO),
        ratio=numbers("Least and largest width by height.", **_RATIO),
        interpolation=_SMOOTH,
        antialias=_ANTIALIAS,
    ),
    "RandomHorizontalFlip": _plain("Mirror left and right.", p=_CHANCE),
    "RandomVerticalFlip": _plain("Mirror top and bottom.", p=_CHANCE),
    "RandomRotation": _plain(
        "Turn.",
        degrees=number("Up to this much either way, or [least, most].", many=[2]),
        interpolation=_SMOOTH,
        expand=flag("Make the image larger to hold it all."),
        center=numbers("x and y of the axis; the middle if left out.", length=2, nullable=True),
        fill=_FILL,
    ),
    "RandomAffine": _plain(
        "Turn, move, scale and shear.",
        degrees=number("Up to this much either way, or [least, most].", many=[2]),
        translate=numbers("Largest share of width and height.", length=2, minimum=0, maximum=1, nullable=True),
        scale=numbers("Least and largest factor.", nullable=True, **_RATIO),
        shear=number("Degrees up to this much either way, or limits.", many=[2, 4], nullable=True),
        interpolation=_SMOOTH,
        fill=_FILL,
        center=numbers("x and y of the axis; the middle if left out.", length=2, nullable=True),
    ),
    "RandomPerspective": _plain(
        "Seen from another place.", distortion_scale=share("How far."), p=_CHANCE, interpolation=_SMOOTH, fill=_FILL
    ),
    "ElasticTransform": _plain(
        "Moves pixels as through water.",
        alpha=number("How far.", many=[2]),
        sigma=number("How smoothly.", above=0, many=[2]),
        interpolation=_SMOOTH,
        fill=_FILL,
    ),
    "RandomErasing": _plain(
        "A rectangle replaced; on tensors.",
        p=_CHANCE,
        scale=numbers("Least and largest share of the area.", **_RATIO),
        ratio=numbers("Least and largest side by side.", **_RATIO),
        value=number("By what.", many="any", words=["random"]),
        inplace=_INPLACE,
    ),
    "ColorJitter": _plain(
        "Other light and colours.",
        brightness=_jitter("Brightness"),
        contrast=_jitter("Contrast"),
        saturation=_jitter("Saturation"),
        hue=number("Hue: up to this much either way, at most 0.5, or [least, most].", -0.5, 0.5, many=[2], nullable=True),
    ),
    "RandomPhotometricDistort": _plain(
        "Brightness, contrast, saturation and hue, each at random.",
        brightness=numbers("Least and largest factor.", length=2, minimum=0),
        contrast=numbers("Least and largest factor.", length=2, minimum=0),
        saturation=numbers("Least and largest factor.", length=2, minimum=0),
        hue=numbers("Least and largest shift.", length=2, minimum=-0.5, maximum=0.5),
        p=_CHANCE,
    ),
    "RandomChannelPermutation": _plain("Channels in random order."),
    "RandomGrayscale": _plain("Without colour, as many channels as before.", p=_CHANCE),
    "RandomInvert": _plain("The negative.", p=_CHANCE),
    "RandomPosterize": _plain("Fewer shades; bytes only.", bits=integer("Bits kept.", 0, maximum=8), p=_CHANCE),
    "RandomSolarize": _plain("Bright pixels inverted.", threshold=number("From where on."), p=_CHANCE),
    "RandomAdjustSharpness": _plain("Sharper or softer.", sharpness_factor=number("0 blurs, 1 changes nothing.", 0), p=_CHANCE),
    "RandomAutocontrast": _plain("Contrast stretched to the full range.", p=_CHANCE),
    "RandomEqualize": _plain("Shades spread evenly; bytes only.", p=_CHANCE),
    "RandomResize": _plain(
        "The shorter side to a random size.",
        min_size=integer("Least.", 1),
        max_size=integer("Below this.", 2),
        interpolation=_SMOOTH,
        antialias=_ANTIALIAS,
    ),
    "RandomShortestSize": _plain(
        "The shorter side to one of some sizes.",
        min_size=integer("The sizes.", 1, many="any"),
        max_size=integer("Longest the longer side may be.", 1, nullable=True),
        interpolation=_SMOOTH,
        antialias=_ANTIALIAS,
    ),
    "ScaleJitter": _plain(
        "Scaled at random.",
        target_size={"type": "ints", "length": 2, "minimum": 1, "help": "Height and width at scale 1."},
        scale_range=numbers("Least and largest factor.", **_RATIO),
        interpolation=_SMOOTH,
        antialias=_ANTIALIAS,
    ),
    "RandomZoomOut": _plain(
        "Put into a larger image.",
        fill=_FILL,
        side_range=numbers("Least and largest factor of a side.", length=2, minimum=1),
        p=_CHANCE,
    ),
    "AutoAugment": _plain(
        "Learnt policies of two changes each (Cubuk 2018).",
        policy=choice("Learnt on.", "imagenet", "cifar10", "svhn"),
        interpolation=_SMOOTH,
        fill=_FILL,
    ),
    "RandAugment": _plain(
        "Some changes of one strength (Cubuk 2019).",
        num_ops=integer("How many.", 1),
        magnitude=integer("How strong.", 0),
        num_magnitude_bins=integer("Of how many strengths.", 2),
        interpolation=_SMOOTH,
        fill=_FILL,
    ),
    "TrivialAugmentWide": _plain(
        "One change of random strength (Mueller 2021).",
        num_magnitude_bins=integer("Of how many strengths.", 2),
        interpolation=_SMOOTH,
        fill=_FILL,
    ),
    "AugMix": _plain(
        "Several chains of changes, mixed (Hendrycks 2019).",
        severity=integer("How strong.", 1, maximum=10),
        mixture_width=integer("How many chains.", 1),
        chain_depth=integer("Length of a chain; -1 is one to three.", -1),
        alpha=number("Of the mixing weights.", above=0),
        all_ops=flag("Colour changes too."),
        interpolation=_SMOOTH,
        fill=_FILL,
    ),
    "Compose": _plain("Several, one after the other.", transforms=declared("Them, in order.", "transforms")),
    "RandomApply": _plain("Several, or none.", transforms=declared("Them, in order.", "transforms"), p=_CHANCE),
    "RandomChoice": _plain(
        "One of several.",
        transforms=declared("Them.", "transforms"),
        p=numbers("How often each, if not equally.", minimum=0, nullable=True),
    ),
    "RandomOrder": _plain("Several, in random order.", transforms=declared("Them.", "transforms")),
}

_MIXED = number("Both of the Beta distribution that draws the share; small ones leave most batches nearly as they are.", above=0)

BATCH_TRANSFORMS: dict[str, dict[str, Any]] = {
    "MixUp": _plain("Each sample faded into its neighbour in the batch, and so their labels (Zhang 2017).", alpha=_MIXED),
    "CutMix": _plain("A box of each sample replaced by its neighbour's, and the labels by area (Yun 2019).", alpha=_MIXED),
    "RandomChoice": _plain(
        "One of several, drawn for each batch.",
        transforms=declared("Them.", "batch_transforms"),
        p=numbers("How often each, if not equally.", minimum=0, nullable=True),
    ),
}


def _facts(shape: tuple[int | None, ...], classes: int, train: int, test: int, **more: Any) -> dict[str, Any]:
    return {"shape": list(shape), "num_classes": classes, "train": train, "test": test, **more}


_ANY = (3, None, None)
"""Colour images of sizes of their own; the transforms have to make them one size."""
_BY_FLAG = {"train": {"train": True}, "test": {"train": False}}


def _by_split(train: str, test: str) -> dict[str, Any]:
    return {"train": {"split": train}, "test": {"split": test}}


_EMNIST = {"balanced": (47, 112800, 18800), "digits": (10, 240000, 40000), "mnist": (10, 60000, 10000)}
_EMNIST |= {"byclass": (62, 697932, 116323), "bymerge": (47, 697932, 116323)}

_TABLE: dict[str, Kind] = {
    "label_columns": name("Of a table: the column that is to be predicted, or several.", many="any", nullable=True, default=None),
    "feature_columns": name(
        "Of a table: the columns to predict from; all others that hold numbers, or words of which there are few, if left out.",
        many="any",
        nullable=True,
        default=None,
    ),
    "labels": choice(
        "Of a table, how label columns are read: a class, several labels of 0 or 1, or numbers; told from what is in them if left out.",
        "class",
        "several",
        "numbers",
        nullable=True,
        default=None,
    ),
}
_TEST_SPLIT: dict[str, Kind] = {
    "test_split": share(
        "Share of the samples that is set aside as the test split, where the data bring none; always the same ones.",
        default=0.2,
    ),
}

DATASETS: dict[str, dict[str, Any]] = {
    "MNIST": {"help": "Handwritten digits.", "args": {}, "facts": _facts((1, 28, 28), 10, 60000, 10000), "splits": _BY_FLAG},
    "FashionMNIST": {"help": "Clothes, in MNIST's form.", "args": {}, "facts": _facts((1, 28, 28), 10, 60000, 10000), "splits": _BY_FLAG},
    "KMNIST": {
        "help": "Cursive Japanese letters, in MNIST's form.",
        "args": {},
        "facts": _facts((1, 28, 28), 10, 60000, 10000),
        "splits": _BY_FLAG,
    },
    "QMNIST": {
        "help": "MNIST made again, with all 60,000 test digits.",
        "args": {},
        "facts": _facts((1, 28, 28), 10, 60000, 60000),
        "splits": _BY_FLAG,
    },
    "EMNIST": {
        "help": "Handwritten letters and digits.",
        "args": {"split": choice("Which selection.", *_EMNIST)},
        "facts_by": {"split": {name: _facts((1, 28, 28), *sizes) for name, sizes in _EMNIST.items()}},
        "splits": _BY_FLAG,
    },
    "USPS": {"help": "Digits from envelopes.", "args": {}, "facts": _facts((1, 16, 16), 10, 7291, 2007), "splits": _BY_FLAG},
    "CIFAR10": {
        "help": "Small colour photographs of ten kinds.",
        "args": {},
        "facts": _facts((3, 32, 32), 10, 50000, 10000),
        "splits": _BY_FLAG,
    },
    "CIFAR100": {
        "help": "Small colour photographs of a hundred kinds.",
        "args": {},
        "facts": _facts((3, 32, 32), 100, 50000, 10000),
        "splits": _BY_FLAG,
    },
    "SVHN": {
        "help": "House numbers in photographs; needs scipy.",
        "args": {},
        "facts": _facts((3, 32, 32), 10, 73257, 26032),
        "splits": _by_split("train", "test"),
    },
    "STL10": {
        "help": "Colour photographs of ten kinds.",
        "args": {},
        "facts": _facts((3, 96, 96), 10, 5000, 8000),
        "splits": _by_split("train", "test"),
    },
    "Food101": {"help": "Dishes.", "args": {}, "facts": _facts(_ANY, 101, 75750, 25250), "splits": _by_split("train", "test")},
    "Flowers102": {"help": "Flowers.", "args": {}, "facts": _facts(_ANY, 102, 1020, 6149), "splits": _by_split("train", "test")},
    "OxfordIIITPet": {
        "help": "Cats and dogs of 37 breeds.",
        "args": {},
        "facts": _facts(_ANY, 37, 3680, 3669),
        "splits": _by_split("trainval", "test"),
    },
    "DTD": {"help": "Textures.", "args": {}, "facts": _facts(_ANY, 47, 1880, 1880), "splits": _by_split("train", "test")},
    "GTSRB": {"help": "German traffic signs.", "args": {}, "facts": _facts(_ANY, 43, 26640, 12630), "splits": _by_split("train", "test")},
    "FGVCAircraft": {
        "help": "Aircraft of a hundred variants.",
        "args": {},
        "facts": _facts(_ANY, 100, 6667, 3333),
        "splits": _by_split("trainval", "test"),
    },
    "StanfordCars": {
        "help": "Cars of 196 models; needs scipy.",
        "args": {},
        "facts": _facts(_ANY, 196, 8144, 8041),
        "splits": _by_split("train", "test"),
    },
    "Country211": {
        "help": "Photographs by country.",
        "args": {},
        "facts": _facts(_ANY, 211, 31650, 21100),
        "splits": _by_split("train", "test"),
    },
    "RenderedSST2": {
        "help": "Film reviews as images, good or bad.",
        "args": {},
        "facts": _facts((3, 448, 448), 2, 6920, 1821),
        "splits": _by_split("train", "test"),
    },
    "Imagenette": {
        "help": "Ten easy kinds of ImageNet.",
        "args": {"size": choice("Shorter side of the images.", "full", "320px", "160px", default="full")},
        "facts": _facts(_ANY, 10, 9469, 3925),
        "splits": _by_split("train", "val"),
    },
    "ImageNet": {
        "help": "Photographs of a thousand kinds; needs its archives.",
        "args": {},
        "facts": _facts(_ANY, 1000, 1281167, 50000),
        "splits": _by_split("train", "val"),
    },
    "Upload": {
        "help": "A data set of your own, uploaded: PUT /v1/datasets/{name}, or `trainyard datasets push`.",
        "args": {
            "name": name("What it was uploaded as."),
            "version": name(
                "The SHA-256 of its bytes, or the first digits of it; the newest one that is ready if left out.",
                nullable=True,
                default=None,
            ),
            **_TABLE,
            **_TEST_SPLIT,
        },
    },
    "ImageFolder": {
        "help": "A folder of the operator's: a folder of images for each class, in train/, val/ and test/ or not split; or images with a table of labels.",
        "args": {"root": name("The folder, below TRAINYARD_DATASETS_DIR."), **_TEST_SPLIT},
    },
    "Tensors": {
        "help": "Arrays in an npz file of the operator's: x_train, y_train, x_test, y_test; or x and y.",
        "args": {"file": name("The file, below TRAINYARD_DATASETS_DIR."), **_TEST_SPLIT},
    },
    "Table": {
        "help": "A CSV or Parquet table of the operator's.",
        "args": {"file": name("The file, below TRAINYARD_DATASETS_DIR."), **_TABLE, **_TEST_SPLIT},
    },
    "Digits": {"help": "scikit-learn's 8x8 digits; needs no download.", "args": {}, "facts": _facts((1, 8, 8), 10, 1437, 360)},
    "FakeData": {
        "help": "Random images and labels; the test split is a fifth as large, drawn after the training images.",
        "args": {
            "size": integer("Training images.", 1, maximum=1_000_000, default=1000),
            "image_size": {
                "type": "ints",
                "length": 3,
                "minimum": 1,
                "default": [3, 224, 224],
                "help": "Channels (1 or 3), height, width.",
            },
            "num_classes": integer("Labels are drawn from 0 to one less.", 1, default=10),
            "random_offset": integer("Added to an image's index to seed it.", 0, default=0),
        },
    },
}

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
