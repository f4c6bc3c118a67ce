"""The program's data: how each set is read, split and transformed."""

from __future__ import annotations

from service.spec.catalog import load as catalog
from service.spec.job import JobSpec
from worker.training.script import brought
from worker.training.script.calls import composed, mixing


def train_transform(spec: JobSpec) -> str:
    """What stands beside `transform` for training samples, and for training batches."""
    dataset = spec.dataset
    lines = ""
    if dataset.augments_batches:
        lines = f"train_transform = {composed(dataset.before_numbers)}\naugmentation = {composed(dataset.after_shaping)}\n"
    elif dataset.train_transforms:
        lines = f"train_transform = {composed(dataset.train_only)}\n"
    mixed = ", ".join(mixing(each, dataset.facts.num_classes) for each in dataset.batch_transforms)
    if mixed:
        lines += f"batch_transform = {mixed if len(dataset.batch_transforms) == 1 else f'v2.Compose([{mixed}])'}\n"
    return lines


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


def reading(spec: JobSpec) -> str:
    """`load`, which gives the training and the test set, and what it needs."""
    facts, dataset = spec.dataset.facts, spec.dataset
    if dataset.content is not None:
        return brought.reading(spec, dataset.content)
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


def split(spec: JobSpec) -> str:
    """The lines that hold samples out for validation."""
    return (
        f"    held_out = int(len(train_data) * {spec.dataset.validation_split})\n"
        "    split = torch.Generator().manual_seed(SEED)\n"
        "    train_data, val_data = random_split(train_data, [len(train_data) - held_out, held_out], generator=split)\n"
    )


def augmented(spec: JobSpec, *, held_out: bool) -> str:
    """The lines that give each split its transforms, where training samples have others."""
    if spec.dataset.content is not None and spec.dataset.content.layout == "table":
        return brought.prepared(spec, spec.dataset.content, held_out=held_out)
    if not spec.dataset.train_transforms:
        return ""
    validation = "    val_data = Transformed(val_data, transform)\n" if held_out else ""
    train = "Transformed(train_data, train_transform)" if spec.dataset.augments_batches else "Augmented(train_data, train_transform, SEED)"
    return f"    train_data, test_data = {train}, Transformed(test_data, transform)\n{validation}"
