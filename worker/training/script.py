"""Writes a job as the textbook's program: `train.py`, plain PyTorch, no Trainyard. The same spec, the same weights, bit for bit on CPU."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Sequence
from string import Template
from typing import Any

from service.spec.catalog import Declared
from service.spec.catalog import load as catalog
from service.spec.job import JobSpec
from service.spec.model import (
    AnyLayer,
    Composite,
    Concat,
    FromJob,
    Graph,
    Module,
    Parallel,
    Repeat,
    Residual,
    Sequential,
    Torchvision,
    built,
    frozen,
)
from service.spec.monitors import watched_metrics
from service.spec.training import Optimizer
from worker.training import textbook
from worker.training.build import steps, torchvision_arguments
from worker.training.evaluate import BY_SAMPLE
from worker.training.rounding import TOLERANCE, forward_lines, rounding

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets in torchvision's layout")
    parser.add_argument("--out", type=Path, default=Path("model.safetensors"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
$init_argument    args = parser.parse_args()
    warn_of_differences()
    torch.set_num_threads(THREADS)

    train_data, test_data = load(args.data)
$limit$split$augmented
    torch.manual_seed(SEED)
    model = $make_model
$init    loss_fn = nn.$loss
    optimizer = torch.optim.$optimizer
$scheduler    train_loader = DataLoader(
        train_data, batch_size=$batch_size, shuffle=$shuffle, num_workers=$num_workers, drop_last=$drop_last,
        generator=torch.Generator().manual_seed(SEED),
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
$after_training    $test_results = evaluate($judged, loss_fn, test_loader)
    print(f"$test_told")
    save_file($judged.state_dict(), args.out)


if __name__ == "__main__":
    main()
''')

_OURS = frozenset(
    ("load", "evaluate", "main", "transform", "train_transform", "warn_of_differences", "SEED", "EPOCHS", "THREADS", "TRAINED_WITH", "SKIP")
)
"""Names of this program that a user's source might use as well."""


def render(spec: JobSpec, environment: dict[str, Any]) -> str:
    """The program of a resolved spec. `environment` is environment.json's content."""
    held_out = bool(spec.dataset.split_sizes[1])
    model, make_model = _model(spec)
    carried = _carried(spec)
    classes = spec.dataset.is_classification
    labels = "targets" if spec.dataset.target == "label" else "labels"
    parts = {
        "title": f"Trains {spec.name or spec.dataset.type}: {built(spec.model).type} on {spec.dataset.type}, {spec.epochs} epochs.",
        "extra": (", scikit-learn" if spec.dataset.type == "Digits" else "") + (", torchmetrics" if watched_metrics(spec) else ""),
        "vision": _vision_imports(spec),
        "promise": _promise(spec, environment.get("inexact_because", ())),
        "seed": spec.seed,
        "epochs": spec.epochs,
        "threads": spec.resources.threads,
        "environment": repr({name: environment[name] for name in ("torch", "cpu_capability")}),
        "skip": _skip(spec),
        "model": "\n\n".join([*carried, model]).strip("\n") + "\n",
        "transform": _composed(spec.dataset.transforms),
        "train_transform": _train_transform(spec),
        "data": _data(spec),
        "labels": labels,
        "targets": _targets(spec, indent=12),
        "times": _times(spec, labels),
        "metrics_argument": ", metrics=()" if watched_metrics(spec) else "",
        "update_metrics": _update_metrics(spec, labels),
        "evaluates": "Mean loss per sample and the share of right answers." if classes else "Mean loss per sample.",
        "sums": "loss, right, samples" if classes else "loss, samples",
        "zeros": "0.0, 0, 0" if classes else "0.0, 0",
        "train_sums": "total, right, samples" if classes else "total, samples",
        "count_right": f"            right += (outputs.argmax(1) == {labels}).sum().item()\n" if classes else "",
        "results": "loss / samples, right / samples" if classes else "loss / samples",
        "init_argument": _INIT_ARGUMENT if _has_initial(spec) else "",
        "limit": ""
        if spec.dataset.limit is None
        else f"    train_data = Subset(train_data, range(min({spec.dataset.limit}, len(train_data))))\n",
        "split": _split(spec) if held_out else "",
        "augmented": _augmented(spec, held_out=held_out),
        "make_model": make_model,
        "init": _init(spec),
        "loss": _loss(spec.loss),
        "optimizer": _optimizer(spec.optimizer, is_frozen=bool(frozen(spec.model)), fused=spec.training.fused),
        "scheduler": f"    scheduler = {_scheduler(spec.lr_scheduler)}\n" if spec.lr_scheduler else "",
        "batch_size": spec.dataloader.batch_size,
        "eval_batch_size": spec.dataloader.eval_batch_size,
        "shuffle": spec.dataloader.shuffle,
        "num_workers": spec.dataloader.num_workers,
        "drop_last": spec.dataloader.drop_last,
        "val_loader": f"    val_loader = DataLoader(val_data, batch_size={spec.dataloader.eval_batch_size}, generator=torch.Generator())\n"
        if held_out
        else "",
        "before_epochs": _before_epochs(spec),
        "compile": _compile(spec),
        "set_epoch": "        train_data.epoch = epoch - 1\n"
        if spec.dataset.train_transforms and not spec.dataset.augments_batches
        else "",
        "steps": _steps(spec, "targets" if spec.dataset.batch_transforms else labels).rstrip("\n"),
        "train_told": "train_loss {total / samples:.4f}" + (", train_accuracy {right / samples:.4f}" if classes else ""),
        "after_epoch": _after_epoch(spec, held_out=held_out),
        "after_training": _after_training(spec),
        "judged": _judged(spec),
        "test_results": "test_loss, test_accuracy" if classes else "test_loss",
        "test_told": "test_loss {test_loss:.4f}" + (", test_accuracy {test_accuracy:.4f}" if classes else ""),
    }
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
    reasons = [*rounding(spec.training), *(_INEXACT[reason] for reason in inexact)]
    if not reasons:
        return _EXACT
    lines = "\n".join(f"- {reason}" for reason in reasons)
    tolerance = f"\n{TOLERANCE}" if rounding(spec.training) else ""
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
_TORCH_DATA = ("DataLoader", "Dataset", "Subset", "random_split")


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
    pillow = ["from PIL import Image"] if "Image." in program else []
    return "\n".join([*standard, "", *pillow, *third, *functional, f"from torch.utils.data import {data}"])


def _vision_imports(spec: JobSpec) -> str:
    names = [] if spec.dataset.type == "Digits" else ["datasets"]
    names += ["models"] if isinstance(built(spec.model), Torchvision) else []
    first = [f"from torchvision import {', '.join(names)}  # noqa: E402"] if names else []
    metrics = ["import torchmetrics  # noqa: E402"] if watched_metrics(spec) else []
    return "\n".join([*metrics, *first, "from torchvision.transforms import v2  # noqa: E402"])


def _carried(spec: JobSpec) -> list[str]:
    """The source of what this spec uses of the textbook's additions."""
    needed = dict.fromkeys(_additions(built(spec.model)))
    if frozen(spec.model):
        needed["freeze"] = None
    if spec.training.channels_last:
        needed["to_channels_last"] = None
    if spec.optimizer.groups:
        needed["parameter_groups"] = None
    if spec.training.ema_decay is not None:
        needed["moving_average"] = None
    if spec.dataset.train_transforms or spec.dataset.batch_transforms:
        needed["seed_of"] = None
    if spec.dataset.train_transforms:
        needed |= {"Transformed": None, "augmented" if spec.dataset.augments_batches else "Augmented": None}
    if spec.dataset.batch_transforms:
        needed["mixed"] = None
    # what a type checker wants to know is no reader's concern
    return [re.sub(r"  # type: ignore.*", "", inspect.getsource(getattr(textbook, name))) for name in needed]


def _additions(model: Any) -> list[str]:
    if isinstance(model, Declared):
        return [model.type] if hasattr(textbook, model.type) else []
    if not isinstance(model, Composite):
        return []
    own = [model.type] if model.type not in ("Sequential", "Repeat") else []
    return own + [name for _, part in model.parts() for name in _additions(part)]


def _model(spec: JobSpec) -> tuple[str, str]:
    """What stands above `main` for the model, and the expression that makes it."""
    match built(spec.model):
        case Sequential() as model:
            lines = "\n".join(f"{_layer(layer, 12)}," for layer in model.layers)
            return (
                f'class MyNet(nn.Sequential):\n    """The model: layers, one after the other."""\n\n    def __init__(self):\n        super().__init__(\n{lines}\n        )\n',
                "MyNet()",
            )
        case Graph() as model:
            return (
                f'class MyNet(Graph):\n    """The model: named steps."""\n\n    def __init__(self):\n        super().__init__(\n{_graph(model, 12)}        )\n',
                "MyNet()",
            )
        case Torchvision() as model:
            arguments = ", ".join(f"{name}={value!r}" for name, value in torchvision_arguments(model).items())
            return "", f"models.get_model({model.name!r}, {arguments})"
        case Module() as model:
            return _source(model), f"{_class(model)}({', '.join(f'{name}={value!r}' for name, value in model.kwargs.items())})"


def _source(module: Module) -> str:
    """The user's source, which stands as it is; where it has names of this program's, in a module of its own."""
    tree = ast.parse(module.code)
    future = {
        line
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    code = "\n".join(line for number, line in enumerate(module.code.splitlines(), 1) if number not in future)
    if _apart(module):
        return f"# the model's source uses names of this program, so it gets a namespace of its own\nuser = {{}}\nexec({code!r}, user)  # noqa: S102\n"
    return code + "\n"


def _apart(module: Module) -> bool:
    tree = ast.parse(module.code)
    names = {getattr(node, "name", None) for node in tree.body}
    names |= {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets if isinstance(target, ast.Name)}
    return bool(names & _OURS) or any(hasattr(textbook, str(name)) for name in names)


def _class(module: Module) -> str:
    return f"user[{module.class_name!r}]" if _apart(module) else module.class_name


def _layer(layer: AnyLayer, indent: int) -> str:
    pad = " " * indent
    match layer:
        case Declared():
            return f"{pad}{'' if hasattr(textbook, layer.type) else 'nn.'}{call(layer)}"
        case Sequential():
            return f"{pad}nn.Sequential(\n{_lines(layer.layers, indent + 4)}{pad})"
        case Repeat():
            return _layer(layer.expanded(), indent)
        case Residual():
            inner = [_layer(Sequential(type="Sequential", layers=layer.layers), indent + 4)]
            if layer.shortcut:
                inner.append(_layer(Sequential(type="Sequential", layers=layer.shortcut), indent + 4))
            return f"{pad}Residual(\n" + "".join(f"{each},\n" for each in inner) + f"{pad})"
        case Concat() | Parallel():
            branches = "".join(f"{_branch(branch, indent + 4)},\n" for branch in layer.branches)
            last = f"dim={layer.dim}" if isinstance(layer, Concat) else f"merge={layer.merge!r}"
            return f"{pad}{layer.type}(\n{pad}[\n{branches}{pad}],\n{pad}{last})"
        case Graph():
            return f"{pad}Graph(\n{_graph(layer, indent + 4)}{pad})"
    raise LookupError(layer.type)


def _branch(layers: Sequence[AnyLayer], indent: int) -> str:
    pad = " " * indent
    return f"{pad}nn.Sequential(\n{_lines(layers, indent + 4)}{pad})" if layers else f"{pad}nn.Sequential()"


def _lines(layers: Sequence[AnyLayer], indent: int) -> str:
    return "".join(f"{_layer(layer, indent)},\n" for layer in layers)


def _graph(graph: Graph, indent: int) -> str:
    pad = " " * indent
    nodes = "".join(f"{pad}    {node.name!r}: {_layer(node.layer, indent + 4).lstrip()},\n" for node in graph.nodes)
    order = "".join(f"{pad}    ({name!r}, {list(inputs)!r}),\n" for name, inputs in steps(graph))
    return f"{pad}nodes={{\n{nodes}{pad}}},\n{pad}steps=[\n{order}{pad}],\n{pad}output={graph.last!r},\n"


def call(declared: Declared, *first: str, leave_out: Sequence[str] = (), value: Callable[[str, Any], str] | None = None) -> str:
    """The constructor call a person would write: what differs from torch's defaults."""
    write = value or (lambda _, each: repr(each))
    chosen = {name: each for name, each in declared.chosen().items() if name not in leave_out}
    return f"{declared.type}({', '.join([*first, *(f'{name}={write(name, each)}' for name, each in chosen.items())])})"


def _composed(transforms: Sequence[Declared]) -> str:
    lines = "".join(f"        {_transform(each)},\n" for each in transforms)
    return f"v2.Compose(\n    [\n{lines}    ]\n)"


def _train_transform(spec: JobSpec) -> str:
    """What stands beside `transform` for training samples, and for training batches."""
    dataset = spec.dataset
    lines = ""
    if dataset.augments_batches:
        lines = f"train_transform = {_composed(dataset.before_numbers)}\naugmentation = {_composed(dataset.after_shaping)}\n"
    elif dataset.train_transforms:
        lines = f"train_transform = {_composed(dataset.train_only)}\n"
    mixing = ", ".join(_mixing(each, dataset.facts.num_classes) for each in dataset.batch_transforms)
    if mixing:
        lines += f"batch_transform = {mixing if len(dataset.batch_transforms) == 1 else f'v2.Compose([{mixing}])'}\n"
    return lines


def _mixing(declared: Declared, num_classes: int) -> str:
    if declared.type != "RandomChoice":
        return f"v2.{call(declared)[:-1]}{', ' if declared.chosen() else ''}num_classes={num_classes})"
    inner = ", ".join(_mixing(each, num_classes) for each in declared.arguments()["transforms"])
    chances = declared.arguments()["p"]
    return f"v2.RandomChoice([{inner}]{'' if chances is None else f', p={list(chances)!r}'})"


def _transform(declared: Declared) -> str:
    return f"v2.{call(declared, value=_transform_value)}"


def _transform_value(name: str, value: Any) -> str:
    if name == "dtype":
        return f"torch.{value}"
    if name == "policy":
        return f"v2.AutoAugmentPolicy({value!r})"
    if name == "transforms":
        return f"[{', '.join(_transform(each) for each in value)}]"
    return repr(list(value) if isinstance(value, tuple) else value)


def _loss(loss: Declared) -> str:
    def write(name: str, value: Any) -> str:
        return f"torch.tensor({list(value)!r})" if name in ("weight", "pos_weight") and value is not None else repr(value)

    return call(loss, value=write)


def _optimizer(optimizer: Optimizer, *, is_frozen: bool, fused: bool) -> str:
    parameters = "[parameter for parameter in model.parameters() if parameter.requires_grad]" if is_frozen else "model.parameters()"
    if optimizer.groups:
        groups = [(group.match, group.options()) for group in optimizer.groups]
        parameters = f"parameter_groups(model, {groups!r})"
    made = call(optimizer, parameters)
    return f"{made[:-1]}, fused=True)" if fused else made


def _scheduler(scheduler: Declared) -> str:
    def write(name: str, value: Any) -> str:
        if name == "schedulers":
            return f"[{', '.join(_scheduler(each) for each in value)}]"
        return repr(list(value) if isinstance(value, tuple) else value)

    text = call(scheduler, "optimizer", leave_out=("interval", "monitor"), value=write)
    if scheduler.type == "ChainedScheduler":
        text = f"ChainedScheduler({write('schedulers', scheduler.arguments()['schedulers'])}, optimizer=optimizer)"
    return f"torch.optim.lr_scheduler.{text}"


_TORCHVISION = """\
def load(root):
    \"\"\"The training and the test split, by torchvision.\"\"\"
    return tuple(datasets.{name}(root, {arguments}**split, transform={transform}) for split in {splits})
"""

_IDX = """\
def load(root):
    \"\"\"The training and the test split, by torchvision.\"\"\"
    root = unpacked(root)
    return tuple(datasets.{name}(root, {arguments}**split, transform={transform}) for split in {splits})


def unpacked(root):
    \"\"\"torchvision reads IDX files unpacked; unpack .gz files into a temporary folder, and leave the given one as it is.\"\"\"
    raw = root / "{name}" / "raw"
    packed = [path for path in raw.glob("*.gz") if not path.with_suffix("").exists()]
    if not packed:
        return root
    folder = Path(tempfile.mkdtemp(prefix="train-"))
    (folder / "{name}" / "raw").mkdir(parents=True)
    for path in raw.iterdir():
        target = folder / "{name}" / "raw" / path.name.removesuffix(".gz")
        with (gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out)
    return folder
"""

_DIGITS = """\
class Digits(Dataset):
    \"\"\"scikit-learn's 8x8 digits, bytes of 0-255: a Dataset is a length and an item.\"\"\"

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {sample}, int(self.labels[index])


def load(root):
    \"\"\"1,437 samples to train on and 360 to test with, drawn with seed 0; `root` is not needed.\"\"\"
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (digits.images * (255 / 16)).round().astype("uint8")
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0)).numpy()
    return tuple(Digits(images[part], digits.target[part]) for part in (order[:1437], order[1437:]))
"""

_FAKE = """\
def load(root):
    \"\"\"Random images and labels; `root` is not needed.\"\"\"
    shape = dict(image_size={image_size}, num_classes={num_classes}, transform={transform})
    return datasets.FakeData(size={train}, random_offset={offset}, **shape), datasets.FakeData(size={test}, random_offset={test_offset}, **shape)
"""


def _data(spec: JobSpec) -> str:
    facts, dataset = spec.dataset.facts, spec.dataset
    transform = "None" if dataset.train_transforms else "transform"
    match dataset.type:
        case "Digits":
            image = "Image.fromarray(self.images[index])"
            return _DIGITS.format(sample=image if dataset.train_transforms else f"transform({image})")
        case "FakeData":
            offset = dataset.arguments()["random_offset"]
            return _FAKE.format(
                image_size=facts.shape,
                num_classes=facts.num_classes,
                train=facts.train,
                test=facts.test,
                offset=offset,
                test_offset=offset + facts.train,
                transform=transform,
            )
    splits = catalog()["datasets"][dataset.type]["splits"]
    form = _IDX if dataset.type in ("MNIST", "FashionMNIST", "KMNIST", "EMNIST") else _TORCHVISION
    arguments = "".join(f"{name}={value!r}, " for name, value in dataset.arguments().items())
    return form.format(name=dataset.type, transform=transform, arguments=arguments, splits=f"({splits['train']}, {splits['test']})")


_INIT_ARGUMENT = (
    '    parser.add_argument("--init", type=Path, default=Path(__file__).with_name("initial.safetensors"), help="weights to start from")\n'
)


def _has_initial(spec: JobSpec) -> bool:
    return isinstance(spec.model, FromJob) or (isinstance(spec.model, Torchvision) and spec.model.weights is not None)


def _init(spec: JobSpec) -> str:
    loaded = "    model.load_state_dict(load_file(args.init), strict=False)\n" if _has_initial(spec) else ""
    loaded += f"    freeze(model, {list(frozen(spec.model))!r})\n" if frozen(spec.model) else ""
    return loaded + ("    to_channels_last(model)\n" if spec.training.channels_last else "")


def _split(spec: JobSpec) -> str:
    return (
        f"    held_out = int(len(train_data) * {spec.dataset.validation_split})\n"
        "    split = torch.Generator().manual_seed(SEED)\n"
        "    train_data, val_data = random_split(train_data, [len(train_data) - held_out, held_out], generator=split)\n"
    )


def _augmented(spec: JobSpec, *, held_out: bool) -> str:
    if not spec.dataset.train_transforms:
        return ""
    validation = "    val_data = Transformed(val_data, transform)\n" if held_out else ""
    train = "Transformed(train_data, train_transform)" if spec.dataset.augments_batches else "Augmented(train_data, train_transform, SEED)"
    return f"    train_data, test_data = {train}, Transformed(test_data, transform)\n{validation}"


def _times(spec: JobSpec, labels: str) -> str:
    return "" if spec.loss.arguments()["reduction"] == "sum" else f" * len({labels})"


def _targets(spec: JobSpec, *, indent: int) -> str:
    """The line that makes targets of labels, where they are not the same."""
    classes = spec.dataset.facts.num_classes
    made = {
        "label": None,
        "one_hot": f"nn.functional.one_hot(labels, {classes}).float()",
        "signed": f"nn.functional.one_hot(labels, {classes}).float() * 2 - 1",
        "value": "labels.float().unsqueeze(1)",
        "input": "inputs",
    }[spec.dataset.target]
    return "" if made is None else f"{' ' * indent}targets = {made}\n"


def _steps(spec: JobSpec, labels: str) -> str:
    accumulate, norm, value = spec.training.gradient_accumulation_steps, spec.training.clip_grad_norm, spec.training.clip_grad_value
    pad, scaled = " " * (12 if accumulate == 1 else 16), spec.training.precision == "float16"
    stepped = spec.lr_scheduler is not None and spec.lr_scheduler.arguments().get("interval") == "step"
    update = [
        *(["scaler.unscale_(optimizer)"] if scaled and (norm or value) else []),
        *([] if norm is None else [f"nn.utils.clip_grad_norm_(model.parameters(), {norm})"]),
        *([] if value is None else [f"nn.utils.clip_grad_value_(model.parameters(), {value})"]),
        *(["scaler.step(optimizer)  # 5 update", "scaler.update()"] if scaled else ["optimizer.step()  # 5 update"]),
        "optimizer.zero_grad()  # 6 reset the gradients",
        *([] if spec.training.ema_decay is None else ["average.update_parameters(model)"]),
        *(["scheduler.step()"] if stepped else []),
    ]
    mixing = bool(spec.dataset.batch_transforms)
    loader = "batches" if spec.training.skip_batches or mixing or spec.dataset.augments_batches else "train_loader"
    loop = f"for inputs, {labels} in {loader}:  # 1 a batch"
    backward = ["scaler.scale(loss).backward()  # 4 backward" if scaled else "loss.backward()  # 4 backward"]
    if accumulate > 1:
        loop = f"for index, (inputs, {labels}) in enumerate({loader}):  # 1 a batch"
        count = "count" if spec.training.skip_batches else "len(train_loader)"
        backward = [
            f"# 4 backward; {accumulate} batches make one step, and a last, smaller group steps with its own mean",
            f"first = index - index % {accumulate}",
            f"members = min({accumulate}, {count} - first)",
            "scaler.scale(loss / members).backward()" if scaled else "(loss / members).backward()",
            "if index - first + 1 == members:",
        ]
    counted = [f"total += loss.item(){_times(spec, labels)}"]
    right = "targets.argmax(1)" if mixing else labels  # of mixed targets the largest share counts
    counted += [f"right += (outputs.argmax(1) == {right}).sum().item()"] if spec.dataset.is_classification else []
    body = [*forward_lines(spec.training), "loss = loss_fn(outputs, targets)  # 3 loss", *backward]
    return "\n".join(
        [
            *_kept(spec),
            f"        {loop}",
            *([] if mixing else _targets(spec, indent=12).splitlines()),
            *(f"            {line}" for line in body),
            *(f"{pad}{line}" for line in update),
            *(f"            {line}" for line in [*counted, f"samples += len({labels})"]),
        ]
    )


def _skip(spec: JobSpec) -> str:
    pairs = ", ".join(f"({epoch}, {number})" for epoch, number in spec.training.skip_batches)
    return f"SKIP = {{{pairs}}}  # batches that are left out: (epoch, batch), both counted from 0\n" if pairs else ""


def _kept(spec: JobSpec) -> list[str]:
    """The lines that leave batches out of an epoch, and augment and mix the others."""
    skips, augments, mixes = bool(spec.training.skip_batches), spec.dataset.augments_batches, bool(spec.dataset.batch_transforms)
    lines, numbered = [], "enumerate(train_loader)"
    if skips and not (augments or mixes):
        lines.append("batches = (batch for number, batch in enumerate(train_loader) if (epoch - 1, number) not in SKIP)")
    elif skips:
        lines.append("kept = ((number, batch) for number, batch in enumerate(train_loader) if (epoch - 1, number) not in SKIP)")
        numbered = "kept"
    if augments:
        lines.append(f"drawn = augmented({numbered}, augmentation, SEED, epoch - 1)")
        numbered = "drawn"
    if mixes:
        lines.append(f"batches = mixed({numbered}, batch_transform, SEED, epoch - 1)")
    elif augments:
        lines.append("batches = (batch for _, batch in drawn)")
    if skips and spec.training.gradient_accumulation_steps > 1:
        lines.append("count = sum((epoch - 1, number) not in SKIP for number in range(len(train_loader)))")
    return [f"        {line}" for line in lines]


def _judged(spec: JobSpec) -> str:
    """The model that is evaluated and saved."""
    return "model" if spec.training.ema_decay is None else "average.module"


def _before_epochs(spec: JobSpec) -> str:
    lines = ['    scaler = torch.amp.GradScaler("cpu")\n'] if spec.training.precision == "float16" else []
    if spec.training.ema_decay is not None:
        lines.append(f"    average = moving_average(model, {spec.training.ema_decay})  # evaluated and saved in place of the model\n")
    if spec.checkpoint.monitor:
        lines.append(f"    best, best_weights = {_worst(spec.checkpoint.mode)}, None\n")
    if spec.training.early_stopping:
        lines.append(f"    watched, stale_epochs = {_worst(spec.training.early_stopping.mode)}, 0\n")
    lines.extend(f"    {name.removeprefix('val_')} = {_metric(metric, spec)}\n" for name, metric in watched_metrics(spec).items())
    return "".join(lines)


def _worst(mode: str) -> str:
    """What every number is better than."""
    return "-math.inf" if mode == "max" else "math.inf"


def _metric(metric: Declared, spec: JobSpec) -> str:
    if not spec.dataset.is_classification:
        return f"torchmetrics.regression.{call(metric, value=_metric_value)}"
    of_classes = f'task="multiclass", num_classes={spec.dataset.facts.num_classes}'
    return f"torchmetrics.classification.{call(metric, of_classes, value=_metric_value)}"


def _metric_value(_: str, value: Any) -> str:
    return repr(list(value) if isinstance(value, tuple) else value)


def _update_metrics(spec: JobSpec, labels: str) -> str:
    """What each metric is shown of a batch: see `observed` in evaluate.py."""
    by_sample = {metric.type in BY_SAMPLE for metric in watched_metrics(spec).values()}
    if not by_sample:
        return ""
    samples, numbers = "outputs.flatten(1), targets.flatten(1)", "outputs.flatten(), targets.flatten()"
    if spec.dataset.is_classification:
        shown = f"outputs, {labels}"
    elif len(by_sample) == 1:
        shown = samples if by_sample == {True} else numbers
    else:
        shown = f"*(({samples}) if type(metric).__name__ in {BY_SAMPLE!r} else ({numbers}))"
    return f"            for metric in metrics:\n                metric.update({shown})\n"


def _after_training(spec: JobSpec) -> str:
    if not spec.checkpoint.monitor:
        return ""
    return f"    if best_weights is not None:\n        {_judged(spec)}.load_state_dict(best_weights)\n"


def _compile(spec: JobSpec) -> str:
    mode = spec.training.compile
    return "" if not mode else f"    compiled = torch.compile(model{'' if mode is True else f', mode={mode!r}'})\n"


def _after_epoch(spec: JobSpec, *, held_out: bool) -> str:
    lines = []
    classes = spec.dataset.is_classification
    if held_out:
        names = [name.removeprefix("val_") for name in watched_metrics(spec)]
        more = f", [{', '.join(names)}]" if names else ""
        lines.append(f"        val_loss{', val_accuracy' if classes else ''} = evaluate({_judged(spec)}, loss_fn, val_loader{more})\n")
        # one by one: a metric that is read starts afresh
        lines.extend(f"        val_{name} = {name}.compute().item()\n        {name}.reset()\n" for name in names)
        told = ["val_loss", *(["val_accuracy"] if classes else []), *(f"val_{name}" for name in names if name != "accuracy")]
        shown = ", ".join(f"{name} {{{name}:.4f}}" for name in told)
        lines.append(f'        print(f"epoch {{epoch}}: {shown}")\n')
    plateau = spec.lr_scheduler is not None and spec.lr_scheduler.type == "ReduceLROnPlateau"
    if spec.checkpoint.monitor or spec.training.early_stopping or plateau:
        measured = {
            "train_loss": "total / samples",
            "train_accuracy": "right / samples",
            "val_loss": "val_loss",
            "val_accuracy": "val_accuracy",
        }
        measured |= {name: name for name in watched_metrics(spec)}
        known = [f'"{n}": {v}' for n, v in measured.items() if (classes or not n.endswith("_accuracy")) and (held_out or "val" not in n)]
        lines.append(f"        measured = {{{', '.join(known)}}}\n")
    if spec.lr_scheduler is not None and spec.lr_scheduler.arguments().get("interval") != "step":
        watched = f'measured["{spec.lr_scheduler.arguments()["monitor"]}"]' if plateau else ""
        lines.append(f"        scheduler.step({watched})\n")
    return "".join([*lines, *_best(spec), *_early_stop(spec)])


def _best(spec: JobSpec) -> list[str]:
    if not spec.checkpoint.monitor:
        return []
    better = ">" if spec.checkpoint.mode == "max" else "<"
    return [
        "        # keep the weights of the best epoch: the first strict improvement\n",
        f'        if measured["{spec.checkpoint.monitor}"] {better} best:\n',
        f'            best = measured["{spec.checkpoint.monitor}"]\n',
        f"            best_weights = {{name: tensor.detach().clone() for name, tensor in {_judged(spec)}.state_dict().items()}}\n",
    ]


def _early_stop(spec: JobSpec) -> list[str]:
    rule = spec.training.early_stopping
    if not rule:
        return []
    better = f"> watched + {rule.min_delta}" if rule.mode == "max" else f"< watched - {rule.min_delta}"
    return [
        "        # stop once nothing has got better for a while\n",
        f'        if measured["{rule.monitor}"] {better}:\n',
        f'            watched, stale_epochs = measured["{rule.monitor}"], 0\n',
        "        else:\n            stale_epochs += 1\n",
        f"        if stale_epochs >= {rule.patience}:\n            break\n",
    ]
