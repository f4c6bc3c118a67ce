"""Trained models asked for answers. The child process: reads one JSON line `{"folder", "kind", "data", "resize"}`, answers one, ends with its input.

`folder` holds a job's resolved_spec.json, model.safetensors and, of a table, preprocessing.json. `kind` is `inputs` (samples as JSON),
`image` (base64 of a file) or `csv` (text). The answer is `{"predicted": ...}` or `{"fault": why}`.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from service.spec.job import JobSpec
from worker.ingest.images import NotAnImage, decoded
from worker.training.build import build_model, build_transforms
from worker.training.data import applied
from worker.training.deciding import Decision
from worker.training.shapes import TORCH_ERRORS, first_line
from worker.training.tables import as_numbers

KEPT = 4
"""Models that stay loaded, the late ones."""
_EXACT = 2**53
"""Up to here JSON's numbers are whole ones without a doubt."""
AT_ONCE = 256
"""Samples that go through a model together."""


class Unfit(ValueError):
    """A sample that the model cannot take; the text names it, and the cure."""


class Model:
    """A trained model, with what has to be done to a sample first, and what its outputs mean."""

    def __init__(self, folder: Path) -> None:
        self.spec = JobSpec.model_validate_json((folder / "resolved_spec.json").read_bytes())
        self._module = build_model(self.spec.model)
        self._module.load_state_dict(load_file(folder / "model.safetensors"))
        self._module.eval()
        self._transforms = build_transforms(self.spec.dataset.transforms)
        self._decision = Decision.of(self.spec)
        told = folder / "preprocessing.json"
        self._table = json.loads(told.read_text()) if told.exists() else None
        facts = self.spec.dataset.facts
        self._shape, self._dtype, self._is_image = facts.shape, facts.dtype, facts.samples == "images"
        self._names = [*self.spec.dataset.class_names] or [str(at) for at in range(facts.num_classes)]

    def predict(self, kind: str, data: Any, *, resize: bool) -> dict[str, Any]:
        """The answers for every sample. Raises Unfit."""
        read: Mapping[str, Callable[[], list[torch.Tensor]]] = {
            "inputs": lambda: self._of_inputs(data, resize=resize),
            "image": lambda: [self._of_image(_image(data), resize=resize)],
            "csv": lambda: self._of_rows(list(csv.DictReader(io.StringIO(data)))),
        }
        samples = read[kind]()
        if not samples:
            raise Unfit("There is no sample.")
        if len({sample.shape for sample in samples}) > 1:
            raise Unfit("Samples are of several shapes; send them one by one.")
        try:
            with torch.inference_mode():
                outputs = torch.cat([self._module(torch.stack(samples[at : at + AT_ONCE])) for at in range(0, len(samples), AT_ONCE)])
        except TORCH_ERRORS as error:
            raise Unfit(f"The model does not take samples of {list(samples[0].shape)}: {first_line(error)}") from error
        return self._answers(outputs.float())

    def _answers(self, outputs: torch.Tensor) -> dict[str, Any]:
        decision, told = self._decision, {"outputs": _plain(outputs), "names": self._names, "classes": None, "probabilities": None}
        if decision is None:
            return told
        if decision.task == "classification":
            names = [*self._names, *(str(at) for at in range(len(self._names), outputs.shape[1]))]
            told |= {"names": names, "classes": [names[at] for at in outputs.argmax(1).tolist()]} if outputs.dim() == 2 else {}
            kind = self.spec.loss.type
            if outputs.dim() == 2 and kind in ("CrossEntropyLoss", "NLLLoss"):
                told["probabilities"] = _plain(outputs.softmax(1) if kind == "CrossEntropyLoss" else outputs.exp())
            return told
        certain = decision.probabilities(outputs)
        if decision.task == "binary":
            return told | {
                "classes": [self._names[int(yes)] for yes in decision.chosen(outputs).flatten()],
                "probabilities": _plain(torch.stack([1 - certain, certain], dim=1)),
            }
        chosen = [[name for name, yes in zip(self._names, row, strict=True) if yes] for row in decision.chosen(outputs).tolist()]
        return told | {"classes": chosen, "probabilities": _plain(certain)}

    def _of_inputs(self, inputs: Any, *, resize: bool) -> list[torch.Tensor]:
        if not isinstance(inputs, list):
            raise Unfit("`inputs` has to be a list of samples.")
        if self._table is not None:
            return self._of_rows(inputs)
        return [self._of_numbers(at, each, resize=resize) for at, each in enumerate(inputs)]

    def _of_numbers(self, at: int, numbers: Any, *, resize: bool) -> torch.Tensor:
        try:
            array = np.array(numbers, dtype=np.float64)
        except (ValueError, TypeError) as error:
            raise Unfit(f"Sample {at} is no array of numbers.") from error
        if not array.size:
            raise Unfit(f"Sample {at} is empty.")
        if not np.isfinite(array).all():
            raise Unfit(f"Sample {at} holds numbers that are none.")
        if not self._is_image:
            if array.shape != self._shape:
                raise Unfit(f"Sample {at} is {list(array.shape)}; the model takes {list(self._shape)}.")
            return self._transformed(torch.from_numpy(self._typed(at, array)))
        if array.ndim == 3 and array.shape[0] in (1, 3):
            array = array.transpose(1, 2, 0)
        if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3)):
            raise Unfit(f"Sample {at} is {list(array.shape)}; an image is [height, width], or has 1 or 3 channels besides.")
        if array.min() < 0 or array.max() > 255:
            raise Unfit(f"Sample {at} has pixels outside 0 to 255.")
        pixels = array.round().astype(np.uint8)
        return self._of_image(Image.fromarray(pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels), resize=resize)

    def _typed(self, at: int, array: Any) -> Any:
        """The numbers as the model was trained on them."""
        if self._dtype == "float32":
            return array.astype(np.float32)
        odd = (array != np.trunc(array)) | (np.abs(array) > _EXACT)
        if odd.any():
            raise Unfit(f"Sample {at} holds {array[odd][0]:g}; the model takes whole numbers up to 2^53.")
        return array.astype(np.int64)

    def _of_image(self, image: Image.Image, *, resize: bool) -> torch.Tensor:
        if not self._is_image:
            raise Unfit("The model takes no images.")
        channels, height, width = self._shape
        image = image.convert("L" if channels == 1 else "RGB")
        if height is not None and width is not None and (image.height, image.width) != (height, width):
            if not resize:
                raise Unfit(
                    f"The image is {image.height} by {image.width}; the model was trained on {height} by {width}. Send it so, or add ?resize=true."
                )
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return self._transformed(image)

    def _transformed(self, sample: Any) -> torch.Tensor:
        try:
            made = applied(self._transforms, sample)
        except TORCH_ERRORS as error:
            raise Unfit(f"The transforms cannot take it: {first_line(error)}") from error
        return torch.as_tensor(made)

    def _of_rows(self, rows: Sequence[Any]) -> list[torch.Tensor]:
        if self._table is None:
            raise Unfit("The model takes no rows of a table.")
        features = self._table["features"]
        raw = np.array([[self._cell(at, row, feature) for feature in features] for at, row in enumerate(rows)]).reshape(-1, len(features))
        mean, std = ([feature.get(name, default) for feature in features] for name, default in (("mean", 0.0), ("std", 1.0)))
        widths = [len(feature.get("values", ())) for feature in features]
        return list(torch.from_numpy(as_numbers(raw, mean, std, widths)))

    def _cell(self, at: int, row: Any, feature: Mapping[str, Any]) -> float:
        """A number, NaN where it is unknown; of a word its place, -1 where it is unknown."""
        if not isinstance(row, dict):
            raise Unfit(f"Row {at} is no object with a value for each column.")
        name = feature["name"]
        if name not in row:
            raise Unfit(f"Row {at} has no {name}; the model takes {', '.join(each['name'] for each in self._table['features'])}.")  # type: ignore[index]
        value = row[name]
        if "values" in feature:
            return float(feature["values"].index(value)) if value in feature["values"] else -1.0
        if value is None or value == "":
            return math.nan
        try:
            return float(value)
        except (TypeError, ValueError) as error:
            raise Unfit(f"Row {at} has `{str(value)[:50]}` as {name}, which is no number.") from error


def _image(data: str) -> Image.Image:
    try:
        return decoded(base64.b64decode(data))
    except NotAnImage as error:
        raise Unfit(f"{str(error)[0].upper()}{str(error)[1:]}.") from error


def _plain(values: torch.Tensor) -> Any:
    """As JSON has it: numbers that are none as null."""
    return [_plain(each) if each.dim() else (float(each) if math.isfinite(float(each)) else None) for each in values]


def main() -> None:
    """Answer until the input ends."""
    # custom code may print; what it prints must not be taken for an answer
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    torch.set_num_threads(1)
    models: OrderedDict[str, Model] = OrderedDict()

    def answer(told: dict[str, Any]) -> None:
        answers.write(json.dumps(told) + "\n")
        answers.flush()

    answer({"ready": True})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["folder"] not in models:
                models[asked["folder"]] = Model(Path(asked["folder"]))
            models.move_to_end(asked["folder"])
            while len(models) > KEPT:
                models.popitem(last=False)
            answer({"predicted": models[asked["folder"]].predict(asked["kind"], asked["data"], resize=asked["resize"])})
        except Unfit as unfit:
            answer({"fault": str(unfit)})


if __name__ == "__main__":
    main()
