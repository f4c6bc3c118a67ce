"""Writes a job as the textbook's program: `train.py`, plain PyTorch, no Trainyard. The same spec, the same weights, bit for bit on CPU."""

from __future__ import annotations

from string import Template
from typing import Any

from service.spec.catalog import Declared
from service.spec.job import JobSpec

_PROGRAM = Template('''\
"""$title

The textbook training loop in plain PyTorch (torch, torchvision, safetensors$extra). Run it:

    python train.py --data DIR --out model.safetensors

On the CPU, with the same versions, thread count and instruction set, it gives the very weights that the service gave: bit for bit.
It differs from the tutorial's loop in one thing: the DataLoader and random_split are handed generators of their own, seeded, so
that the order of the samples depends on the seed alone.
"""

import argparse
import gzip
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, random_split

# torchvision's wheel is built for CUDA. Beside a CPU torch its C++ operators do not load, and importing it fails because two of them are
# not declared. Declaring them is enough for data sets and transforms; where the library loads, nothing is done.
if torch.version.cuda is None:
    try:
        torch.library.define("torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        torch.library.define("torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # a torchvision that is built for this torch declared them already
from torchvision import datasets  # noqa: E402
from torchvision.transforms import v2  # noqa: E402

SEED = $seed
EPOCHS = $epochs
THREADS = $threads
TRAINED_WITH = $environment


class MyNet(nn.Sequential):
    """The model: layers, one after the other."""

    def __init__(self):
        super().__init__(
$layers
        )


transform = v2.Compose(
    [
$transforms
    ]
)

$data

def warn_of_differences():
    """Other versions, threads or instruction sets round differently: the result is as good, but not the same bits."""
    here = {"torch": torch.__version__, "cpu_capability": torch.backends.cpu.get_cpu_capability()}
    for name, value in here.items():
        if value != TRAINED_WITH[name]:
            print(f"note: {name} is {value} here and was {TRAINED_WITH[name]} there; the weights may differ in their last bits")


def evaluate(model, loss_fn, loader):
    """Mean loss per sample and the share of right answers."""
    model.eval()
    loss, right, samples = 0.0, 0, 0
    with torch.inference_mode():
        for inputs, targets in loader:
            logits = model(inputs)
            loss += loss_fn(logits, targets).item()$times_targets
            right += (logits.argmax(1) == targets).sum().item()
            samples += len(targets)
    return loss / samples, right / samples


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of data sets in torchvision's layout")
    parser.add_argument("--out", type=Path, default=Path("model.safetensors"))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    args = parser.parse_args()
    warn_of_differences()
    torch.set_num_threads(THREADS)

    train_data, test_data = load(args.data)
$limit$split
    torch.manual_seed(SEED)
    model = MyNet()
    loss_fn = nn.$loss
    optimizer = torch.optim.$optimizer
    train_loader = DataLoader(
        train_data, batch_size=$batch_size, shuffle=$shuffle, num_workers=$num_workers, drop_last=$drop_last,
        generator=torch.Generator().manual_seed(SEED),
    )
    # a generator of its own: evaluating must not draw from the global one, which Dropout uses
    test_loader = DataLoader(test_data, batch_size=$eval_batch_size, generator=torch.Generator())
$val_loader$before_epochs
    for epoch in range(1, args.epochs + 1):
        model.train()
        total, right, samples = 0.0, 0, 0
$steps
        print(f"epoch {epoch}: train_loss {total / samples:.4f}, train_accuracy {right / samples:.4f}")
$after_epoch
$after_training    test_loss, test_accuracy = evaluate(model, loss_fn, test_loader)
    print(f"test_loss {test_loss:.4f}, test_accuracy {test_accuracy:.4f}")
    save_file(model.state_dict(), args.out)


if __name__ == "__main__":
    main()
''')

_STEPS = """\
        for inputs, targets in train_loader:  # 1 a batch
            logits = model(inputs)  # 2 forward
            loss = loss_fn(logits, targets)  # 3 loss
            loss.backward()  # 4 backward
{clip}            optimizer.step()  # 5 update
            optimizer.zero_grad()  # 6 reset the gradients
            total += loss.item(){times}
            right += (logits.argmax(1) == targets).sum().item()
            samples += len(targets)
"""

_ACCUMULATED_STEPS = """\
        batches = len(train_loader)
        for index, (inputs, targets) in enumerate(train_loader):  # 1 a batch
            logits = model(inputs)  # 2 forward
            loss = loss_fn(logits, targets)  # 3 loss
            # 4 backward; {accumulate} batches make one step, and a last, smaller group steps with its own mean
            first = index - index % {accumulate}
            members = min({accumulate}, batches - first)
            (loss / members).backward()
            if index - first + 1 == members:
{clip}                optimizer.step()  # 5 update
                optimizer.zero_grad()  # 6 reset the gradients
            total += loss.item(){times}
            right += (logits.argmax(1) == targets).sum().item()
            samples += len(targets)
"""

_CLIP = "nn.utils.clip_grad_norm_(model.parameters(), {norm})\n"

_TORCHVISION = """\
def load(root):
    \"\"\"The training and the test split, by torchvision.\"\"\"
    root = unpacked(root)
    return tuple(datasets.{name}(root, train=train, transform=transform) for train in (True, False))


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

_CIFAR10 = """\
def load(root):
    \"\"\"The training and the test split, by torchvision.\"\"\"
    return tuple(datasets.CIFAR10(root, train=train, transform=transform) for train in (True, False))
"""

_DIGITS = """\
class Digits(Dataset):
    \"\"\"scikit-learn's 8x8 digits, bytes of 0-255: a Dataset is a length and an item.\"\"\"

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return transform(self.images[index]), int(self.labels[index])


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
    shape = dict(image_size={image_size}, num_classes={num_classes}, transform=transform)
    return datasets.FakeData(size={train}, random_offset={offset}, **shape), datasets.FakeData(size={test}, random_offset={test_offset}, **shape)
"""


def render(spec: JobSpec, environment: dict[str, Any]) -> str:
    """The program of a resolved spec. `environment` is environment.json's content."""
    checkpoint = spec.checkpoint
    _, held_out = spec.dataset.split_sizes
    mean = spec.loss.arguments()["reduction"] == "mean"
    times = " * len(targets)" if mean else ""
    program = _PROGRAM.substitute(
        title=f"Trains {spec.name or spec.dataset.type}: {spec.model.type} on {spec.dataset.type}, {spec.epochs} epochs.",
        extra=", scikit-learn" if spec.dataset.type == "Digits" else "",
        seed=spec.seed,
        epochs=spec.epochs,
        threads=spec.resources.threads,
        environment=repr({name: environment[name] for name in ("torch", "cpu_capability")}),
        layers="\n".join(f"            nn.{call(layer)}," for layer in spec.model.layers),
        transforms="\n".join(f"        v2.{call(transform)}," for transform in spec.dataset.transforms),
        data=_data(spec),
        times_targets=times,
        limit=""
        if spec.dataset.limit is None
        else f"    train_data = Subset(train_data, range(min({spec.dataset.limit}, len(train_data))))\n",
        split=_split(spec) if held_out else "",
        loss=_loss(spec.loss),
        optimizer=call(spec.optimizer, "model.parameters()"),
        batch_size=spec.dataloader.batch_size,
        eval_batch_size=spec.dataloader.eval_batch_size,
        shuffle=spec.dataloader.shuffle,
        num_workers=spec.dataloader.num_workers,
        drop_last=spec.dataloader.drop_last,
        val_loader=f"    val_loader = DataLoader(val_data, batch_size={spec.dataloader.eval_batch_size}, generator=torch.Generator())\n"
        if held_out
        else "",
        before_epochs=_before_epochs(spec),
        steps=_steps(spec, times).rstrip("\n"),
        after_epoch=_after_epoch(spec, held_out=bool(held_out)),
        after_training="    model.load_state_dict(best_weights)\n" if checkpoint.monitor else "",
    )
    unused = [("Subset, ", spec.dataset.limit is None), (", random_split", not held_out), ("Dataset, ", spec.dataset.type != "Digits")]
    for word, absent in unused:
        program = program.replace(word, "", 1) if absent else program
    if spec.dataset.type not in ("MNIST", "FashionMNIST"):
        program = program.replace("import gzip\nimport shutil\nimport tempfile\n", "")
    if spec.dataset.type == "Digits":
        program = program.replace("from torchvision import datasets  # noqa: E402\n", "")
    return program


def call(declared: Declared, *first: str) -> str:
    """The constructor call a person would write: what differs from torch's defaults."""
    arguments = [
        *first,
        *(f"{name}={_value(name, value)}" for name, value in declared.chosen().items() if value is not None or name != "stride"),
    ]
    return f"{declared.type}({', '.join(arguments)})"


def _value(name: str, value: Any) -> str:
    return f"torch.{value}" if name == "dtype" else repr(value)


def _loss(loss: Declared) -> str:
    weight = loss.arguments()["weight"]
    return call(loss) if weight is None else call(loss).replace(f"weight={weight!r}", f"weight=torch.tensor({list(weight)!r})")


def _data(spec: JobSpec) -> str:
    facts, dataset = spec.dataset.facts, spec.dataset
    match dataset.type:
        case "Digits":
            return _DIGITS
        case "CIFAR10":
            return _CIFAR10
        case "FakeData":
            offset = dataset.arguments()["random_offset"]
            return _FAKE.format(
                image_size=facts.shape,
                num_classes=facts.num_classes,
                train=facts.train,
                test=facts.test,
                offset=offset,
                test_offset=offset + facts.train,
            )
    return _TORCHVISION.format(name=dataset.type)


def _split(spec: JobSpec) -> str:
    return (
        f"    held_out = int(len(train_data) * {spec.dataset.validation_split})\n"
        "    split = torch.Generator().manual_seed(SEED)\n"
        "    train_data, val_data = random_split(train_data, [len(train_data) - held_out, held_out], generator=split)\n"
    )


def _steps(spec: JobSpec, times: str) -> str:
    accumulate, norm = spec.training.gradient_accumulation_steps, spec.training.clip_grad_norm
    clip = "" if norm is None else _CLIP.format(norm=norm)
    if accumulate == 1:
        return _STEPS.format(clip=f"            {clip}" if clip else "", times=times)
    return _ACCUMULATED_STEPS.format(clip=f"                {clip}" if clip else "", times=times, accumulate=accumulate)


def _before_epochs(spec: JobSpec) -> str:
    lines = []
    if spec.checkpoint.monitor:
        lines.append("    best, best_weights = None, None\n")
    if spec.training.early_stopping:
        lines.append("    watched, stale_epochs = None, 0\n")
    return "".join(lines)


def _after_epoch(spec: JobSpec, *, held_out: bool) -> str:
    lines = []
    if held_out:
        lines.append("        val_loss, val_accuracy = evaluate(model, loss_fn, val_loader)\n")
        lines.append('        print(f"epoch {epoch}: val_loss {val_loss:.4f}, val_accuracy {val_accuracy:.4f}")\n')
    if spec.checkpoint.monitor or spec.training.early_stopping:
        lines.append('        measured = {"train_loss": total / samples, "train_accuracy": right / samples')
        lines.append(', "val_loss": val_loss, "val_accuracy": val_accuracy}\n' if held_out else "}\n")
    if spec.checkpoint.monitor:
        better = ">" if spec.checkpoint.mode == "max" else "<"
        lines.append("        # keep the weights of the best epoch: the first strict improvement\n")
        lines.append(f'        if best is None or measured["{spec.checkpoint.monitor}"] {better} best:\n')
        lines.append(f'            best = measured["{spec.checkpoint.monitor}"]\n')
        lines.append("            best_weights = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}\n")
    rule = spec.training.early_stopping
    if rule:
        better = f"> watched + {rule.min_delta}" if rule.mode == "max" else f"< watched - {rule.min_delta}"
        lines.append("        # stop once nothing has got better for a while\n")
        lines.append(f'        if watched is None or measured["{rule.monitor}"] {better}:\n')
        lines.append(f'            watched, stale_epochs = measured["{rule.monitor}"], 0\n')
        lines.append("        else:\n            stale_epochs += 1\n")
        lines.append(f"        if stale_epochs >= {rule.patience}:\n            break\n")
    return "".join(lines)
