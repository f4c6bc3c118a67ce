"""What a training looks like: its curves, its answers beside the true ones, the samples it is most wrong about. Drawn once, at the end."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw, ImageFont

from worker.training.history import Row
from worker.training.regression import Fit
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


def draw_fits(fits: Sequence[Fit], names: Sequence[str], path: Path) -> None:
    """Predicted over true, a panel for each target, with the line where both are equal, as a PNG."""
    from matplotlib.figure import Figure

    across = min(3, len(fits))
    down = -(-len(fits) // across)
    figure = Figure(figsize=(max(4.5, 3.6 * across), max(4.5, 3.6 * down)), layout="tight")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for at, axes in enumerate(panels):
        if at >= len(fits):
            axes.set_axis_off()
            continue
        fit = fits[at]
        points = fit.points[fit.points.isfinite().all(1)]
        title = f"R² {'none' if fit.r2 is None else f'{fit.r2:.3f}'}, MAE {fit.mae:.3g}"
        axes.set_title(f"{_shortened(names[at])}: {title}" if at < len(names) and len(fits) > 1 else title, fontsize=9)
        axes.plot(points[:, 0].numpy(), points[:, 1].numpy(), ".", markersize=3, alpha=0.5)
        if len(points):
            ends = (float(points[:, 0].min()), float(points[:, 0].max()))
            axes.plot(ends, ends, color="black", linewidth=0.8)
        axes.set_xlabel("true")
        axes.set_ylabel("predicted")
        axes.grid(alpha=0.3)
    figure.savefig(path)


def draw_labels(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Precision, recall and F1 of each label as bars, with its name and support, as a PNG; of very many the most frequent ones."""
    from matplotlib.figure import Figure

    shown = sorted(rows, key=lambda row: -row["support"])[:_MOST_BARS] if len(rows) > _MOST_BARS else rows
    names = [f"{_shortened(row['label'])} ({row['support']})" for row in shown]
    figure = Figure(figsize=(7, 1.2 + 0.4 * len(shown)), layout="tight")
    axes = figure.subplots()
    for at, score in enumerate(("precision", "recall", "f1")):
        axes.barh([place + 0.27 * (at - 1) for place in range(len(shown))], [row[score] or 0 for row in shown], height=0.25, label=score)
    axes.set_yticks(range(len(shown)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.grid(alpha=0.3, axis="x")
    axes.legend(frameon=False, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1))
    figure.savefig(path)


_MOST_BARS = 50


def draw_thresholds(counts: torch.Tensor, path: Path) -> bool:
    """What other thresholds would give: the ROC curve, and precision and recall, as a PNG. False where samples are of one kind only.

    `counts` int64 [2, steps] are of a no and of a yes, by the probability of a yes from 0 to 1.
    """
    from matplotlib.figure import Figure

    if not bool(counts.sum(1).all()):
        return False
    # said to be a yes, where every step from this one on is; and none at all
    above = torch.cat([counts.flip(1).cumsum(1).flip(1), counts.new_zeros(2, 1)], dim=1).double()
    wrong, right = above / above[:, :1]
    area = -torch.trapezoid(right, wrong).item()
    at = torch.linspace(0, 1, len(right))
    figure = Figure(figsize=(9, 4.2), layout="tight")
    roc, scores = figure.subplots(1, 2)
    roc.plot(wrong.numpy(), right.numpy())
    roc.plot((0, 1), (0, 1), color="black", linewidth=0.8)
    roc.set_title(f"ROC, area {area:.3f}", fontsize=9)
    roc.set_xlabel("false positive rate")
    roc.set_ylabel("true positive rate")
    some = above.sum(0) > 0
    scores.plot(at[some].numpy(), (above[1] / above.sum(0))[some].numpy(), label="precision")
    scores.plot(at.numpy(), right.numpy(), label="recall")
    scores.set_xlabel("probability from which on it is a yes")
    scores.legend(frameon=False)
    for axes in (roc, scores):
        axes.grid(alpha=0.3)
    figure.savefig(path)
    return True


def draw_most_wrong(split: Split, rows: Sequence[Mapping[str, Any]], path: Path) -> bool:
    """The samples with what they are and were taken for, as `as_rows` says it, as a PNG. False where there are none, or they are no images."""
    rows = rows[:_MOST_SAMPLES]
    samples = [each for each in (split[row["index"]][0] for row in rows) if isinstance(each, Image.Image)]
    if not samples:
        return False
    down = -(-len(samples) // _ACROSS)
    width, height = _SIDE + 2 * _MARGIN, _SIDE + 2 * _LINE + 2 * _MARGIN
    sheet = Image.new("RGB", (_ACROSS * width, down * height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(_LINE - 2)
    for at, (sample, row) in enumerate(zip(samples, rows, strict=True)):
        left, top = at % _ACROSS * width + _MARGIN, at // _ACROSS * height + _MARGIN
        sheet.paste(_fitted(sample), (left, top))
        about = row.get("label", row.get("target"))
        for line, word in enumerate(("true", "predicted")):
            text = f"{word} {row[word]}" if about is None else f"{word if line else about}: {row[word]}"
            pen.text((left, top + _SIDE + line * _LINE), text[:_LONGEST], fill="black", font=font)
    sheet.save(path)
    return True


_LONGEST = 18
_MOST_SAMPLES = 25


def _shortened(name: str) -> str:
    return name if len(name) <= 2 * _LONGEST else f"{name[: 2 * _LONGEST - 1]}…"


def _fitted(image: Image.Image) -> Image.Image:
    """The image at the sheet's size; a pixel of a small one stays a square."""
    scale = _SIDE / max(image.size)
    resample = Image.Resampling.NEAREST if scale > 1 else Image.Resampling.BICUBIC
    return image.convert("RGB").resize((max(1, round(image.width * scale)), max(1, round(image.height * scale))), resample)
