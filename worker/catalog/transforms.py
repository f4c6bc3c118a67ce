"""Transforms, of one sample and of a batch: what their signatures do not say."""

from __future__ import annotations

from typing import Any

from worker.catalog.kinds import Kind, choice, declared, flag, integer, number, numbers, share

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
