"""What a training looks like: its curves, its confusion matrix, the samples it is most wrong about. Drawn once, at the end."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont

from worker.training.answers import Mistake
from worker.training.history import Row
from worker.training.splits import Split

MOST_NUMBERED = 20
"""Classes up to which a confusion matrix has its counts written in, and every class its name."""
_ACROSS = 5
_SIDE = 112
"""Pixels of a sample on the contact sheet; small ones are made larger, by whole pixels."""
_LINE = 14
_MARGIN = 8


def preload() -> None:
    """Import what draws, with its list of fonts, and what writes events: half a second, which every process would need again."""
    for module in ("matplotlib.figure", "matplotlib.image", "matplotlib.backends.backend_agg", "tensorboardX"):
        importlib.import_module(module)


def draw_curves(rows: Sequence[Row], path: Path) -> None:
    """Loss, accuracy where there is one, and learning rate, over the epochs, as a PNG."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    panels = [(title, names) for title, names in _PANELS if any(name in row for row in rows for name in names)]
    figure = Figure(figsize=(7, 2.2 * len(panels) + 0.5))
    # margins by hand: a layout engine would draw everything twice
    figure.subplots_adjust(left=0.13, right=0.97, top=1 - 0.1 / figure.get_figheight(), bottom=0.5 / figure.get_figheight(), hspace=0.1)
    for axes, (title, names) in zip(figure.subplots(len(panels), squeeze=False, sharex=True)[:, 0], panels, strict=True):
        for name in names:
            points = [(row["epoch"], row[name]) for row in rows if name in row]
            if points:
                # a line of one point would not show
                axes.plot(*zip(*points, strict=True), label=name, marker="o" if len(points) < _FEW else None, markersize=3)
        axes.set_ylabel(title)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("epoch")
    figure.savefig(path)


_PANELS = (("loss", ("train_loss", "val_loss")), ("accuracy", ("train_accuracy", "val_accuracy")), ("learning rate", ("lr",)))
_FEW = 30


def draw_confusion(confusion: torch.Tensor, classes: Sequence[str], path: Path) -> None:
    """Counts [classes, classes], rows true, each row shaded by its shares, as a PNG."""
    from matplotlib.figure import Figure

    shares = confusion / confusion.sum(1, keepdim=True).clamp(min=1)
    named = len(confusion) <= MOST_NUMBERED
    names = [classes[at] if at < len(classes) else str(at) for at in range(len(confusion))] if named else []
    margin = 0.5 + 0.09 * max(map(len, names), default=4)
    side = min(12.0, 1.5 + 0.5 * len(confusion))
    figure = Figure(figsize=(side + margin, side + margin))
    figure.subplots_adjust(left=margin / (side + margin), bottom=margin / (side + margin), right=0.98, top=0.98)
    axes = figure.subplots()
    axes.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=1)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    if named:
        axes.set_xticks(range(len(names)), names, rotation=90 if max(map(len, names)) > _SHORT else 0)
        axes.set_yticks(range(len(names)), names)
        for true, counts in enumerate(confusion.tolist()):
            for said, count in enumerate(counts):
                if count:
                    axes.text(said, true, str(count), ha="center", va="center", color="white" if shares[true, said] > 0.5 else "black")
    figure.savefig(path)


_SHORT = 3


def draw_most_wrong(split: Split, mistakes: Sequence[Mistake], classes: Sequence[str], path: Path) -> bool:
    """The samples with what they are and were taken for, worst first, as a PNG. False where there are none, or they are no images."""
    samples = [each for each in (split[each.index][0] for each in mistakes) if isinstance(each, Image.Image)]
    if not samples:
        return False
    down = -(-len(samples) // _ACROSS)
    width, height = _SIDE + 2 * _MARGIN, _SIDE + 2 * _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (_ACROSS * width, down * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE - 2)
    for at, (sample, mistake) in enumerate(zip(samples, mistakes, strict=True)):
        left, top = at % _ACROSS * width + _MARGIN, at // _ACROSS * height + _MARGIN
        sheet.paste(_fitted(sample), (left, top))
        for line, (word, label) in enumerate((("true", mistake.label), ("predicted", mistake.answer))):
            name = classes[label] if label < len(classes) else str(label)
            pen.text((left, top + _SIDE + line * _LINE), f"{word} {name}"[:_LONGEST], fill="black", font=font)
    sheet.save(path)
    return True


_LONGEST = 18


def _fitted(image: Image.Image) -> Image.Image:
    """The image at the sheet's size; a pixel of a small one stays a square."""
    scale = _SIDE / max(image.size)
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    return image.convert("RGB").resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), resample)
