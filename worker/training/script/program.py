"""The whole program: the textbook's frame, filled in."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Template
from typing import Any

from service.spec.job import JobSpec
from service.spec.model import (
    Torchvision,
    built,
    frozen,
)
from service.spec.monitors import watched_metrics
from worker.training.rounding import TOLERANCE, rounding, several
from worker.training.script import calls, data, epochs, loop, models

_PROGRAM = Template('''\
"""$title

The textbook training loop in plain PyTorch (torch, torchvision, safetensors$extra). Run it:

    python train.py --data DIR --out model.safetensors

$promise
It differs from the tutorial's loop in one thing: the DataLoader and random_split are handed generators of their own, seeded, so
that the order of the samples depends on the seed alone.
"""

from __future__ import annotations

$imports

# torchvision's wheel is built for CUDA. Beside a CPU torch its C++ operators do not load, and importing it fails because two of them are
# not declared. Declaring them is enough for data sets and transforms; where the library loads, nothing is done.
if torch.version.cuda is None:
    try:
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # a torchvision that is built for this torch declared them already
$vision

SEED = $seed
EPOCHS = $epochs
THREADS = $threads
TRAINED_WITH = $environment
$skip
$model

transform = $transform
$train_transform

$data

def warn_of_differences():
    """Other versions or processors may give other last bits."""
    here = {"torch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    for name, value in here.items():
        if value != TRAINED_WITH[name]:
            print(f"note: {name} is {value} here and was {TRAINED_WITH[name]} there; the weights may differ in their last bits")


$evaluation

def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="$data_help")
    parser.add_argument("--out", type=Path, default=Path("model.safetensors"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
$init_argument    args = parser.parse_args()
    warn_of_differences()
    torch.set_num_threads(THREADS)

    $loaded = load(args.data)
$limit$split$augmented$sampler
    torch.manual_seed(SEED)
    model = $make_model
$init    loss_fn = nn.$loss
    optimizer = torch.optim.$optimizer
$scheduler    train_loader = DataLoader(
        train_data, batch_size=$batch_size, $ordered, num_workers=$num_workers, drop_last=$drop_last,
        generator=$generator,
    )
    # a generator of its own: evaluating must not draw from the global one, which Dropout uses
    test_loader = DataLoader(test_data, batch_size=$eval_batch_size, generator=torch.Generator())
$val_loader$before_epochs$compile
    for epoch in range(1, args.epochs + 1):
        model.train()
$set_epoch        $train_sums = $zeros
$steps
        print(f"epoch {epoch}: $train_told")
$after_epoch
$after_training$tested
    save_file($judged.state_dict(), args.out)


if __name__ == "__main__":
    main()
''')


_EVALUATE = Template('''\
def evaluate(model, loss_fn, loader$metrics_argument):
    """$evaluates"""
    model.eval()
    $sums = $zeros
    with torch.inference_mode():
        for inputs, $labels in loader:
$targets            outputs = model(inputs)
            loss += loss_fn(outputs, targets).item()$times
$count_right$update_metrics            samples += len($labels)
    return $results
''')
_TESTED = Template("""\
    $test_results = evaluate($judged, loss_fn, test_loader)
    print(f"$test_told")""")

# of data without labels
_ASK = Template('''\
def ask(model, loader):
    """The model's outputs, sample by sample: the data have no labels to compare them with."""
    model.eval()
    with torch.inference_mode():
        return torch.cat([model(inputs) for inputs, _ in loader])
''')
_ASKED = Template("""\
    outputs = ask($judged, test_loader)
    print(f"{len(outputs)} samples, outputs of {list(outputs.shape[1:])} each")""")


def render(spec: JobSpec, environment: dict[str, Any]) -> str:
    """The program of a resolved spec. `environment` is environment.json's content."""
    held_out = bool(spec.dataset.split_sizes[1])
    model, make_model = models.model(spec)
    carried = models.carried(spec)
    counts = spec.dataset.counts_answers
    labels = "targets" if spec.dataset.target == "label" else "labels"
    parts = {
        "title": f"Trains {spec.name or spec.dataset.type}: {built(spec.model).type} on {spec.dataset.type}, {spec.epochs} epochs.",
        "extra": "".join(f", {name}" for name in _packages(spec)),
        "data_help": "folder of data sets in torchvision's layout" if spec.dataset.content is None else "folder of the upload",
        "vision": _vision_imports(spec),
        "promise": _promise(spec, environment.get("inexact_because", ())),
        "seed": spec.seed,
        "epochs": spec.epochs,
        "threads": spec.resources.threads,
        "environment": repr({name: environment[name] for name in ("torch", "cpu_capability")}),
        "skip": loop.skip(spec),
        "model": "\n\n".join([*carried, model]).strip("\n") + "\n",
        "transform": calls.composed(spec.dataset.transforms),
        "train_transform": data.train_transform(spec),
        "data": data.reading(spec),
        "labels": labels,
        "loaded": "train_data, val_data, test_data" if spec.dataset.facts.validation else "train_data, test_data",
        "targets": loop.targets(spec, indent=12),
        "times": loop.times(spec, labels),
        "metrics_argument": ", metrics=()" if watched_metrics(spec) else "",
        "update_metrics": epochs.update_metrics(spec, labels),
        "evaluates": "Mean loss per sample and the share of right answers." if counts else "Mean loss per sample.",
        "sums": "loss, right, samples" if counts else "loss, samples",
        "zeros": "0.0, 0, 0" if counts else "0.0, 0",
        "train_sums": "total, right, samples" if counts else "total, samples",
        "count_right": f"            right += {loop.right(spec, labels)}.sum().item()\n" if counts else "",
        "results": f"loss / samples, {loop.share(spec)}" if counts else "loss / samples",
        "init_argument": models.INIT_ARGUMENT if models.has_initial(spec) else "",
        "limit": ""
        if spec.dataset.limit is None
        else f"    train_data = Subset(train_data, range(min({spec.dataset.limit}, len(train_data))))\n",
        "split": data.split(spec) if held_out and not spec.dataset.facts.validation else "",
        "augmented": data.augmented(spec, held_out=held_out),
        "make_model": make_model,
        "init": models.init(spec),
        "loss": calls.loss(spec.loss),
        "optimizer": calls.optimizer(spec.optimizer, is_frozen=bool(frozen(spec.model)), fused=spec.training.fused),
        "scheduler": f"    scheduler = {calls.scheduler(spec.lr_scheduler)}\n" if spec.lr_scheduler else "",
        "batch_size": spec.dataloader.batch_size,
        "eval_batch_size": spec.dataloader.eval_batch_size,
        "sampler": _sampler(spec),
        # torch shuffles no empty data, and where no epoch is trained there may be none
        "ordered": f"shuffle={spec.dataloader.shuffle and bool(spec.epochs)}" if spec.dataloader.sampler is None else "sampler=sampler",
        "generator": "torch.Generator().manual_seed(SEED)" if spec.dataloader.sampler is None else "order",
        "num_workers": spec.dataloader.num_workers,
        "drop_last": spec.dataloader.drop_last,
        "val_loader": f"    val_loader = DataLoader(val_data, batch_size={spec.dataloader.eval_batch_size}, generator=torch.Generator())\n"
        if held_out
        else "",
        "before_epochs": epochs.before_epochs(spec),
        "compile": loop.compiled(spec),
        "set_epoch": "        train_data.epoch = epoch - 1\n"
        if spec.dataset.train_transforms and not spec.dataset.augments_batches
        else "",
        "steps": loop.steps(spec, "targets" if spec.dataset.batch_transforms else labels).rstrip("\n"),
        "train_told": "train_loss {total / samples:.4f}" + (f", train_accuracy {{{loop.share(spec)}:.4f}}" if counts else ""),
        "after_epoch": epochs.after_epoch(spec, held_out=held_out),
        "after_training": epochs.after_training(spec),
        "judged": models.judged(spec),
        "test_results": "test_loss, test_accuracy" if counts else "test_loss",
        "test_told": "test_loss {test_loss:.4f}" + (", test_accuracy {test_accuracy:.4f}" if counts else ""),
    }
    evaluate, tested = (_EVALUATE, _TESTED) if spec.dataset.is_judged else (_ASK, _ASKED)
    parts |= {"evaluation": evaluate.substitute(parts), "tested": tested.substitute(parts)}
    body = _PROGRAM.substitute(parts, imports="$imports")
    program = body.replace("$imports", _imports(body.partition("$imports")[2]), 1)
    return re.sub(r"\n{4,}", "\n\n\n", program)


_EXACT = (
    "On the CPU, with the same versions, thread count and instruction set, it gives the very weights that the service gave: bit for bit."
)


_INEXACT = {
    "out_of_memory": "memory ran out once, and from its last checkpoint on the job had batches of half the size, as here",
    "hardware_changed": "the job went on, from a checkpoint, on another processor or with another torch",
}


def _promise(spec: JobSpec, inexact: Sequence[str]) -> str:
    """What may be expected of the weights, and why no more."""
    reasons = [*rounding(spec.training), *several(spec.resources), *(_INEXACT[reason] for reason in inexact)]
    if not reasons:
        return _EXACT
    lines = "\n".join(f"- {reason}" for reason in reasons)
    tolerance = f"\n{TOLERANCE}" if rounding(spec.training) or several(spec.resources) else ""
    return f"It gives much the same weights that the service gave, but not bit for bit:\n{lines}{tolerance}"


_IMPORTS = (
    ("argparse", "import argparse"),
    ("gzip.", "import gzip"),
    ("math.", "import math"),
    ("re.search", "import re"),
    ("shutil.", "import shutil"),
    ("tempfile.", "import tempfile"),
    ("Path", "from pathlib import Path"),
    ("Any", "from typing import Any"),
)


_TORCH_DATA = ("DataLoader", "Dataset", "Subset", "WeightedRandomSampler", "random_split")


def _imports(program: str) -> str:
    """The imports that a program needs, in the usual order."""
    standard = [line for word, line in _IMPORTS if re.search(rf"\b{re.escape(word)}", program)]
    data = ", ".join(name for name in _TORCH_DATA if re.search(rf"\b{name}\b", program))
    third = [
        "import torch",
        f"from safetensors.torch import {'load_file, ' if 'load_file' in program else ''}save_file",
        "from torch import nn",
    ]
    functional = ["from torch.nn import functional"] if "functional." in program else []
    numpy = ["import numpy as np"] if "np." in program else []
    pillow = ["from PIL import Image"] if "Image." in program else []
    arrow = ["from pyarrow import csv, parquet"] if "parquet." in program else []
    return "\n".join([*standard, "", *numpy, *pillow, *arrow, *third, *functional, f"from torch.utils.data import {data}"])


def _sampler(spec: JobSpec) -> str:
    """The lines that weigh samples by their class; sampler and loader draw from one generator."""
    sampler = spec.dataloader.sampler
    if sampler is None:
        return ""
    weights = sampler.weights if isinstance(sampler.weights, str) else list(sampler.weights)
    return (
        "    order = torch.Generator().manual_seed(SEED)\n"
        f"    weights = sample_weights(torch.tensor([label for _, label in train_data]), {weights!r})\n"
        "    sampler = WeightedRandomSampler(weights, len(train_data), generator=order)\n"
    )


def _packages(spec: JobSpec) -> list[str]:
    """What the program needs besides torch, torchvision and safetensors."""
    content = spec.dataset.content
    tables = content is not None and content.layout in ("labelled_images", "table")
    needs = {"scikit-learn": spec.dataset.type == "Digits", "pyarrow": tables, "torchmetrics": bool(watched_metrics(spec))}
    return [name for name, needed in needs.items() if needed]


def _vision_imports(spec: JobSpec) -> str:
    content = spec.dataset.content
    reads = spec.dataset.type != "Digits" if content is None else content.layout == "class_folders"
    names = ["datasets"] if reads else []
    names += ["models"] if isinstance(built(spec.model), Torchvision) else []
    first = [f"from torchvision import {', '.join(names)}  # noqa: E402"] if names else []
    metrics = ["import torchmetrics  # noqa: E402"] if watched_metrics(spec) else []
    return "\n".join([*metrics, *first, "from torchvision.transforms import v2  # noqa: E402"])
