"""What is done in processes apart, because it needs torch or is somebody else's code."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from service.spec.verdict import Checked


@dataclass(frozen=True, kw_only=True)
class PreflightLoad:
    """How busy the children are that check specs, and how long who asked has waited for one, since the process began."""

    children: int
    busy: int
    asked: int
    waited_seconds: float
    refused: int


class Preflight(Protocol):
    """What needs real torch beside the API, in a child process."""

    def check(self, parts: Mapping[str, Any]) -> Checked:
        """Every fault that building `service.spec.checking.needed(spec)` shows. Raises PreflightBusy, and Unavailable without torch."""

    def script(self, resolved: Mapping[str, Any]) -> str:
        """A resolved spec as train.py. Raises PreflightBusy, and Unavailable without torch."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """Samples for a trained model: `inputs` as JSON has them, an `image` file in base64, or `csv` text."""

    kind: Literal["inputs", "image", "csv"]
    data: Any
    resize: bool = False
    """Whether an image of another size than the model was trained on is made to fit."""


Fetch = Callable[[], Iterator[tuple[str, Iterator[bytes]]]]
"""A model's files, by name, each in chunks."""


class Predictor(Protocol):
    """Trained models that answer, in processes apart."""

    def predict(self, model: str, files: Fetch, question: Question, *, is_custom: bool) -> dict[str, Any]:
        """{outputs, names, classes, probabilities}. `model` names it; `files` are fetched where it is not here. Raises Unpredictable, Unavailable."""
