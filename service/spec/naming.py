"""Data that an earlier job's model is asked about: their classes, labels or numbers in that model's order, by their names. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from service.spec.catalog import suggest
from service.spec.content import Content
from service.spec.tables import Labels, listed
from service.spec.verdict import Fault


def as_named(content: Content, kind: Labels, names: Sequence[str], *, pointer: str) -> tuple[Content, list[Fault]]:
    """The data in the order of a model's `names`, and what stands against it; by place, as they are, where somebody has no names.

    Data without labels get the model's. Classes may be fewer than the model has; labels and numbers have to be all there.
    """
    if not content.labelled:
        return content.model_copy(update={"labels": kind, "classes": tuple(names)}), []
    if content.labels != kind:
        return content, []  # that the loss does not take them is said elsewhere
    unknown = [name for name in content.classes if name not in names]
    missing = [name for name in names if name not in content.classes] if kind != "class" else []
    if (unknown or missing) and (_are_places(content.classes) or _are_places(names)):
        return content, []
    if unknown or missing:
        return content, [*_unknown(kind, unknown, names, pointer), *_missing(missing, pointer)]
    order = tuple(names.index(name) for name in content.classes)
    if order == tuple(range(len(names))):
        return content, []
    return content.model_copy(update={"classes": tuple(names), "order": order}), []


def _are_places(names: Sequence[str]) -> bool:
    """Whether names are made up of places, as those of arrays are that bring none."""
    made_up = ("{}", "label_{}", "target_{}")
    return list(names) == ["target"] or any(all(name == form.format(at) for at, name in enumerate(names)) for form in made_up)


def _unknown(kind: Labels, unknown: Sequence[str], names: Sequence[str], pointer: str) -> list[Fault]:
    if not unknown:
        return []
    what = {"class": "classes", "several": "labels", "numbers": "targets"}[kind]
    close = suggest(unknown[0], names)
    cure = f"Is `{unknown[0]}` its `{close}`? Then rename it. " if close else ""
    detail = f"The data have {what} that the model never saw: {listed(unknown)}."
    return [Fault(pointer=pointer, code="unknown_class", detail=detail, suggestion=f"{cure}The model knows {listed(names)}.")]


def _missing(missing: Sequence[str], pointer: str) -> list[Fault]:
    if not missing:
        return []
    detail = f"The data lack what the model answers: {listed(missing)}."
    return [Fault(pointer=pointer, code="no_column", detail=detail, suggestion="Add it, or leave all labels out and ask for predictions.")]
