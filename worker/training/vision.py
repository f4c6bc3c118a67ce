"""The one guarded place that makes torchvision importable beside a CPU torch. Import this before anything of torchvision.

torchvision's wheel is built for CUDA torch. Beside a CPU torch its C++ operators do not load, and `import torchvision` fails because it
registers shapes for two operators that nobody declared. Declaring them lets datasets, transforms and models load; nms, roi_align and
image decoding in C++ stay missing.
"""

import importlib.machinery
import importlib.util
from pathlib import Path

import torch


def _extension_loads() -> bool:
    spec = importlib.util.find_spec("torchvision")  # finds without importing
    if spec is None or spec.origin is None:
        return True
    suffix = importlib.machinery.EXTENSION_SUFFIXES
    libraries = [path for path in Path(spec.origin).parent.glob("_C*") if path.name.endswith(tuple(suffix))]
    try:
        for library in libraries:
            torch.ops.load_library(library)  # type: ignore[no-untyped-call]  # torch ships it untyped
    except OSError:
        return False
    return bool(libraries)


if not _extension_loads():
    torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
