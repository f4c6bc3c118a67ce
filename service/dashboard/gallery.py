"""The examples as whoever starts a job chooses among them: in groups, each with a line of what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from service.api.examples import FOLDER, examples

GROUPS: Mapping[str, Sequence[str]] = {
    "First steps": ("digits-mlp", "digits-cnn", "mnist-mlp", "mnist-cnn"),
    "Networks": (
        *("digits-residual", "digits-parallel", "digits-attention", "mnist-lstm", "digits-unet", "fake-resnet18"),
        "digits-custom-module",
    ),
    "Training": ("mnist-fast", "digits-augmented", "digits-mixup", "digits-warmup", "digits-average", "digits-workers"),
    "Targets and results": ("digits-regression", "digits-one-hot", "digits-export"),
    "Your own data": ("own-images", "own-table-classes", "own-table-binary", "own-table-numbers", "own-several-labels"),
}
FIRST = GROUPS["First steps"][0]
"""What a page shows that names none."""


@dataclass(frozen=True, kw_only=True)
class Example:
    """One example: its text, what it shows in words, and what it trains on."""

    name: str
    text: str
    shows: str
    dataset: str


@cache
def gallery() -> Mapping[str, Sequence[Example]]:
    """Every example, by group."""
    return {group: [_example(name) for name in names] for group, names in GROUPS.items()}


def example(name: str) -> Example | None:
    """The example of that name."""
    return next((each for group in gallery().values() for each in group if each.name == name), None)


def _example(name: str) -> Example:
    text = (FOLDER / f"{name}.yaml").read_text()
    head = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        head.append(line.removeprefix("#").strip())
    dataset = examples()[name]["dataset"]
    return Example(
        name=name, text=text, shows=" ".join(head).replace("`", ""), dataset=dataset if isinstance(dataset, str) else dataset["type"]
    )
