"""What cannot be declared, by name, each with its reason. A class of torch that stands neither here nor in an overlay fails a test."""

from __future__ import annotations

_TWO = "its loss needs more than an output and a target"
_LAZY = "sizes are inferred before the model is built, without lazy modules, which draw their weights later"
_CONTAINER = "a container; a spec nests Sequential, Residual, Concat, Parallel, Repeat and Graph"
_BASE = "a base class"
_BOXES = "works on boxes or key points, which no data set here has"
_CALLABLE = "takes a Python function"
_NOT_CLASSES = "has no single class label per image"
_PAIRS = "pairs of images, not a classification"

CLASSES: dict[str, dict[str, str]] = {
    "layers": {
        "Module": _BASE,
        "Container": _CONTAINER,
        "Sequential": _CONTAINER,
        "ModuleList": _CONTAINER,
        "ModuleDict": _CONTAINER,
        "ParameterList": _CONTAINER,
        "ParameterDict": _CONTAINER,
        "DataParallel": "spreads a module over GPUs; the worker decides where a job runs",
        "SyncBatchNorm": "needs several processes; a job runs in one",
        "CrossMapLRN2d": "an old form of LocalResponseNorm that torch no longer documents",
        "RNNBase": _BASE,
        "RNNCellBase": _BASE,
        "TransformerEncoder": "copies one layer's weights; Repeat of TransformerEncoderLayer draws fresh ones",
        "TransformerDecoder": "copies one layer's weights; a Graph of TransformerDecoderLayer draws fresh ones",
        "AdaptiveLogSoftmaxWithLoss": _TWO,
        "LinearCrossEntropyLoss": "holds the last layer inside the loss, whose weights are then no part of the model",
        **{
            f"MaxUnpool{d}d": "needs the indices that a MaxPool returns beside its output; ConvTranspose and Upsample do not"
            for d in (1, 2, 3)
        },
        **{
            f"Lazy{name}": _LAZY
            for name in (
                "Linear",
                *(f"{kind}{d}d" for kind in ("Conv", "ConvTranspose", "BatchNorm", "InstanceNorm") for d in (1, 2, 3)),
            )
        },
        "CTCLoss": "needs the lengths of sequences",
        "CosineEmbeddingLoss": _TWO,
        "MarginRankingLoss": _TWO,
        "TripletMarginLoss": _TWO,
        "TripletMarginWithDistanceLoss": _TWO,
        "GaussianNLLLoss": _TWO,
        "MultiLabelMarginLoss": "its targets are padded lists of class numbers, which no data set here has",
        "NLLLoss2d": "torch's old name of NLLLoss",
    },
    "optimizers": {
        "Optimizer": _BASE,
        "LBFGS": "evaluates the model several times in a step, with a closure",
        "SparseAdam": "takes sparse gradients only",
    },
    "schedulers": {"LRScheduler": _BASE, "_LRScheduler": _BASE, "LambdaLR": _CALLABLE, "MultiplicativeLR": _CALLABLE},
    "transforms": {
        "Transform": _BASE,
        "Lambda": _CALLABLE,
        "LinearTransformation": "takes a matrix as large as the image squared",
        "CutMix": "works on whole batches: `batch_transforms`",
        "MixUp": "works on whole batches: `batch_transforms`",
        "FiveCrop": "makes five samples of one",
        "TenCrop": "makes ten samples of one",
        "UniformTemporalSubsample": "works on videos",
        **dict.fromkeys(
            (
                "ClampBoundingBoxes",
                "ClampKeyPoints",
                "ConvertBoundingBoxFormat",
                "SanitizeBoundingBoxes",
                "SanitizeKeyPoints",
                "SetClampingMode",
                "RandomIoUCrop",
            ),
            _BOXES,
        ),
    },
    "datasets": {
        "VisionDataset": _BASE,
        "DatasetFolder": "takes a Python function",
        "LSUN": "needs lmdb, and its classes as files of their own",
        "LSUNClass": _NOT_CLASSES,
        "Caltech101": "comes without a test split",
        "Caltech256": "comes without a test split",
        "SUN397": "comes without a test split",
        "EuroSAT": "comes without a test split",
        "SEMEION": "comes without a test split",
        "FER2013": "its test labels lie in a file of another layout than its training images",
        "PCAM": "needs h5py",
        "Places365": "its labels and images come in parts of 100 GB",
        "INaturalist": "its versions have no labelled test split",
        "Omniglot": "its test split has other classes than its training split",
        "LFWPeople": "its test split has other people than its training split",
        "CLEVRClassification": "its test split has no labels",
        **dict.fromkeys(
            ("CocoCaptions", "CocoDetection", "MovingMNIST", "PhotoTour", "SBU", "Flickr8k", "Flickr30k", "VOCSegmentation"), _NOT_CLASSES
        ),
        **dict.fromkeys(("VOCDetection", "Cityscapes", "CelebA", "WIDERFace", "SBDataset", "Kitti"), _NOT_CLASSES),
        **dict.fromkeys(("Kinetics", "HMDB51", "UCF101"), "videos"),
        **dict.fromkeys(
            (
                "LFWPairs",
                "KittiFlow",
                "Sintel",
                "FlyingChairs",
                "FlyingThings3D",
                "HD1K",
                "Kitti2012Stereo",
                "Kitti2015Stereo",
                "CarlaStereo",
                "Middlebury2014Stereo",
                "CREStereo",
                "FallingThingsStereo",
                "SceneFlowStereo",
                "SintelStereo",
                "InStereo2k",
                "ETH3DStereo",
            ),
            _PAIRS,
        ),
    },
    "metrics": {
        "EER": "has no value where a class has no sample",
        "ExactMatch": "of several labels per sample, which no data set here has",
        "LogAUC": "has no value where a class has no sample",
        "ContinuousRankedProbabilityScore": "of many predictions per sample",
    },
}

ARGUMENTS: dict[str, str] = {
    "params": "the service gives it",
    "optimizer": "the service gives it",
    "device": "the service gives it",
    "dtype": "`training.precision` gives it",
    "last_epoch": "a checkpoint holds it",
    "size_average": "deprecated; `reduction`",
    "reduce": "deprecated; `reduction`",
    "min_value": "deprecated; `min_val`",
    "max_value": "deprecated; `max_val`",
    "return_indices": "changes what a layer returns",
    "foreach": "the service picks the form that equals the plain loop",
    "fused": "rounds otherwise than the plain loop",
    "capturable": "for CUDA graphs",
    "differentiable": "for gradients of the optimizer",
    "sparse": "sparse gradients, which few optimizers take",
    "_weight": "a tensor",
    "_freeze": "`freeze` of a model",
    "_random_samples": "a tensor",
    "include_last_offset": "needs offsets beside the input",
    "custom_encoder": "a module",
    "custom_decoder": "a module",
    "process_group": "for several processes",
    "scale_fn": "a Python function",
    "epochs": "`total_steps` is inferred",
    "steps_per_epoch": "`total_steps` is inferred",
    "task": "found from the data set",
    "num_classes": "found from the data set",
    "labels_getter": "a Python function",
    "num_labels": "found from the data set",
    "num_outputs": "found from the model",
    "threshold": "of two classes; the larger output wins here",
    "multidim_average": "samples are images, with one answer each",
    "validate_args": "on",
    "max_fpr": "of two classes only",
    "t_test": "adds a second value",
    "alternative": "of that second value",
    "keep_sequence_dim": "of sequences",
    "args": "unused",
    "kwargs": "unused",
}
"""Arguments that no spec gives, wherever they stand; an overlay that names one takes it in all the same."""

OF_CLASS: dict[tuple[str, str], str] = {("Adafactor", "eps"): "a pair of null and a number"}
"""Arguments that no spec gives, of one class."""
