"""The few lines that make a trained model again from model.safetensors, with torch alone (and torchvision for its own models)."""

from __future__ import annotations

import re

import torch

from service.spec.job import JobSpec
from service.spec.model import Torchvision, built
from worker.training.script import models

_GUARD = """\
# torchvision's wheel is built for CUDA; beside a CPU torch it loads once two operators that it names are declared
if torch.version.cuda is None:
    try:
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # this torchvision declares them itself
from torchvision import models  # noqa: E402
"""


def loading(spec: JobSpec, *, sample: torch.Tensor) -> str:
    """A program that builds the architecture, loads the weights that lie beside it, and runs a batch of two like `sample`, but zeros, through."""
    made, expression = models.model(spec)
    body = "\n\n".join(part.strip("\n") for part in [*models.additions(spec), made] if part)
    standard = [line for word, line in _STANDARD if re.search(rf"\b{re.escape(word)}", body)]
    functional = ["from torch.nn import functional"] if "functional." in body else []
    head = [
        "from __future__ import annotations",
        "",
        *standard,
        *([""] if standard else []),
        "import torch",
        "from safetensors.torch import load_file",
        "from torch import nn",
        *functional,
        *(["", _GUARD.rstrip("\n")] if isinstance(built(spec.model), Torchvision) else []),
    ]
    kind = "" if sample.dtype == torch.float32 else f", dtype={sample.dtype}"
    use = [
        f"model = {expression}",
        'model.load_state_dict(load_file("model.safetensors"))',
        "model.eval()",
        "",
        "with torch.inference_mode():",
        f"    outputs = model(torch.zeros({', '.join(map(str, [2, *sample.shape]))}{kind}))  # a batch of samples, after the transforms",
    ]
    lines = "\n".join([*head, "", *(["", body, ""] if body else []), "", *use]) + "\n"
    return re.sub(r"\n{4,}", "\n\n\n", lines)


_STANDARD = (
    ("Mapping[", "from collections.abc import Mapping"),
    ("Sequence[", "from collections.abc import Sequence"),
    ("Any", "from typing import Any"),
)
