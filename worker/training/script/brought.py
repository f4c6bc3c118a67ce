"""The program's data where somebody brought them: how each layout is read in plain torch, numpy and pyarrow."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

from service.spec.content import Content, Layout, Split
from service.spec.job import JobSpec
from service.spec.tables import taken
from worker.ingest.images import SPLITS
from worker.ingest.reading import BLOCK_BYTES, MISSING
from worker.training.tables import as_numbers, fitted, scale_of

_LOAD = '''\
def load(root):
    """{what} `root` is the folder {where}."""
    root = root / {top!r}
{splits}
'''

_DRAWN = """\
    # the data bring no test split: always the same samples are set aside
    held_out = int(len(train) * {share})
    train, test = random_split(train, [len(train) - held_out, held_out], generator=torch.Generator().manual_seed(0))
"""

_FOLDERS = '''\
CLASSES = {classes!r}


class Images(datasets.ImageFolder):
    """A folder for each class; every split has the classes of the training split."""

    def find_classes(self, directory):
        return CLASSES, {{name: at for at, name in enumerate(CLASSES)}}


def decoded(path):
    """An image of mode {mode}."""
    with Image.open(path) as image:
        return image.convert({mode!r})


'''

_TABLE_OF_IMAGES = '''\
NAMES = {names!r}


class Images(Dataset):
    """Images whose labels stand in a table, in its order: a Dataset is a length and an item."""

    def __init__(self, root, rows):
        self.root, self.rows = root, rows

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row = self.rows[index]
        with Image.open(self.root / row[{file!r}]) as image:
            image = image.convert({mode!r})
        return {sample}, {label}


{rows}
'''

_IMAGES = '''\
class Images(Dataset):
    """Images without labels, in order of their names: a Dataset is a length and an item."""

    def __init__(self, root):
        self.files = sorted(path for path in root.iterdir() if path.is_file())

    def __len__(self):
        return len(self.files)

    def __getitem__(self, index):
        with Image.open(self.files[index]) as image:
            image = image.convert({mode!r})
        return {sample}, 0


'''

_ARRAYS = '''\
class Samples(Dataset):
    """Arrays of samples and labels: a Dataset is a length and an item."""

    def __init__(self, samples, labels):
        self.samples, self.labels = samples, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {sample}, {label}


'''

_PLAIN_IMAGES = '''\
def as_images(samples):
    """Bytes as Pillow takes them: [N, height, width], or [N, height, width, 3]."""
    if samples.ndim == 4 and samples.shape[3] not in (1, 3):
        samples = samples.transpose(0, 2, 3, 1)
    return samples[:, :, :, 0] if samples.ndim == 4 and samples.shape[3] == 1 else samples


'''

_READ_IDX = '''\
def read_idx(path):
    """An IDX file, gzipped or not: two zeros, a type, the number of sizes, the sizes, the bytes."""
    zipped = path.with_name(path.name + ".gz")
    data = path.read_bytes() if path.exists() else gzip.decompress(zipped.read_bytes())
    return np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]).reshape(np.frombuffer(data, ">i4", data[3], 4))


'''

_ROWS = "# rows"
READ_TABLE = f'''\
def rows_of(path):
    """The rows of a CSV or Parquet table, as dictionaries."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    missing = {list(MISSING)!r}
    converting = csv.ConvertOptions(null_values=missing, strings_can_be_null=True, quoted_strings_can_be_null=True)
    return csv.read_csv(path, convert_options=converting, read_options=csv.ReadOptions(block_size={BLOCK_BYTES})).to_pylist()

'''


def reading(spec: JobSpec, content: Content) -> str:
    """`load`, which gives the splits of data that somebody brought, and what it needs."""
    return _READ[content.layout](spec, content)


def _load(spec: JobSpec, content: Content, read: Mapping[Split, str], where: str) -> str:
    """The function itself. `read` has the expression that reads each split."""
    lines = [f"    {split} = {expression}\n" for split, expression in read.items()]
    if "test" not in read:
        share = spec.dataset.arguments()["test_split"]
        lines.append("    train, test = Subset(train, []), train\n" if share == 1 else _DRAWN.format(share=share))
    names = ["train", *(["validation"] if "validation" in read else []), "test"]
    what = f"The {', '.join(names[:-1])} and the test split."
    return _LOAD.format(what=what, where=where, top=content.top, splits="".join([*lines, f"    return {', '.join(names)}"]))


def _sample(spec: JobSpec, sample: str) -> str:
    """A sample, after its transforms where all samples have the same."""
    return sample if spec.dataset.train_transforms else f"transform({sample})"


def _mode(content: Content) -> str:
    return "L" if content.shape[0] == 1 else "RGB"


def _folders(spec: JobSpec, content: Content) -> str:
    transform = "None" if spec.dataset.train_transforms else "transform"
    read = {
        split: f"Images(root / {place!r}, transform={transform}, loader=decoded, allow_empty=True)"
        for split, (place,) in content.places.items()
    }
    own = _FOLDERS.format(classes=list(content.classes), mode=_mode(content))
    return own + _load(spec, content, read, "of the unpacked upload")


def _images(spec: JobSpec, content: Content) -> str:
    own = _IMAGES.format(mode=_mode(content), sample=_sample(spec, "image"))
    return own + _load(spec, content, {"train": "Images(root)"}, "of the unpacked upload")


def _label(content: Content, value: str) -> str:
    """A label as torch's DataLoader joins them; by the earlier job's names where these are of an earlier job."""
    if not content.labelled:
        return "0"
    if content.order and content.labels == "class":
        value = f"{list(content.order)}[{value}]"
    elif content.order:
        value = f"{value}[{sorted(range(len(content.order)), key=content.order.__getitem__)}]"
    return f"int({value})" if content.labels == "class" else f"torch.as_tensor({value}, dtype=torch.float32)"


def _labelled(spec: JobSpec, content: Content) -> str:
    names = list(content.classes)
    label = (
        f"NAMES.index(str(row[{content.label_column!r}]))"
        if content.labels == "class"
        else "torch.tensor([float(row[name]) for name in NAMES])"
    )
    own = _TABLE_OF_IMAGES.format(
        names=names, file=content.file_column, mode=_mode(content), sample=_sample(spec, "image"), label=label, rows=_ROWS
    )
    own = own.replace(_ROWS, READ_TABLE)
    read: dict[Split, str] = {}
    for split, (table,) in content.places.items():
        rows = f"rows_of(root / {table!r})"
        if content.split_column:
            words = tuple(word for word, named in SPLITS.items() if named == split)
            rows = f"[row for row in {rows} if str(row[{content.split_column!r}]).strip().lower() in {words!r}]"
        read[split] = f"Images(root, {rows})"
    return own + _load(spec, content, read, "of the unpacked upload")


def _arrays(spec: JobSpec, content: Content) -> str:
    images = content.samples == "images"
    sample = "Image.fromarray(self.samples[index])" if images else "torch.from_numpy(self.samples[index])"
    wide = content.labels == "numbers" and len(content.classes) == 1
    label = _label(content, "self.labels[index].reshape(-1)" if wide else "self.labels[index]")
    own = _ARRAYS.format(sample=_sample(spec, sample), label=label)

    def of(samples: str, labels: str | None = None) -> str:
        taken = f"as_images(arrays[{samples!r}])" if images else f"as_numbers(arrays[{samples!r}])"
        # without labels: whatever has a length
        return f"Samples({taken}, arrays[{(labels or samples)!r}])"

    own += _PLAIN_IMAGES if images else _NUMBERS
    read = {split: of(*pair) for split, pair in content.places.items()}
    text = own + _ARRAYS_IN + _load(spec, content, read, "that holds the npz file, or the npy files of the unpacked upload")
    return text.replace(f"    root = root / {content.top!r}\n", "    arrays = arrays_in(root)\n")


_ARRAYS_IN = '''\
def arrays_in(root):
    """The arrays of an npz file, or of npy files."""
    packed = next(root.glob("*.npz"), None)
    if packed is not None:
        return np.load(packed)
    return {path.stem: np.load(path) for path in root.rglob("*.npy")}


'''
_NUMBERS = '''\
def as_numbers(samples):
    """Floating point numbers as float32, whole ones as int64."""
    return np.array(samples, dtype=np.float32 if samples.dtype.kind in "fb" else np.int64)


'''


_ROWS_OF_A_TABLE = '''\
WORDS = {words!r}
FEATURES = {features!r}
WIDTHS = [len(WORDS.get(name, ())) for name in FEATURES]
LABELS = {labels!r}
{classes}

class Rows(Dataset):
    """Rows of a table: a Dataset is a length and an item."""

    def __init__(self, rows):
        self.samples = np.array([numbers(row) for row in rows])
        self.labels = [{label} for row in rows]

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return self.samples[index], self.labels[index]


class Prepared(Dataset):
    """Rows with what is unknown filled in, and scaled."""

    def __init__(self, rows, mean, std):
        self.rows, self.mean, self.std = rows, mean, std

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        row, label = self.rows[index]
        return torch.from_numpy(as_numbers(row[None], self.mean, self.std, WIDTHS)[0]), label


def numbers(row):
    """A row's features: numbers, NaN where one is unknown; of words their place in the list, -1 where unknown."""
    found = []
    for name in FEATURES:
        value, words = row[name], WORDS.get(name)
        if words is not None:
            found.append(float(words.index(value)) if value in words else -1.0)
        else:
            found.append(float("nan") if value is None else float(value))
    return found


'''


def prepared(spec: JobSpec, content: Content, *, held_out: bool) -> str:
    """The lines that scale rows of a table once they are split."""
    columns = taken(content, spec.dataset.arguments())
    fitting = "fitted(np.stack([row for row, _ in train_data]), WIDTHS)"
    said = "the training rows say"
    if columns.is_scaled:
        fitting, said = repr(scale_of(columns)), "those rows said that the earlier job trained on"
    names = ", ".join(["train_data", *(["val_data"] if held_out else []), "test_data"])
    return (
        f"    # what is unknown is filled in, and numbers are scaled, as {said}\n"
        f"    mean, std = {fitting}\n"
        f"    {names} = (Prepared(rows, mean, std) for rows in ({names}))\n"
    )


def _table(spec: JobSpec, content: Content) -> str:
    columns = taken(content, spec.dataset.arguments())
    classes = ""
    if not content.labelled:
        label = "0"
    elif columns.kind == "class":
        told = "row[LABELS[0]]" if columns.labels[0].kind == "categorical" else "str(int(row[LABELS[0]]))"
        label, classes = f"CLASSES.index({told})", f"CLASSES = {list(columns.classes)!r}\n"
    else:
        label = "torch.tensor([float(row[name]) for name in LABELS])"
    own = _ROWS_OF_A_TABLE.format(
        words={column.name: list(column.values or ()) for column in columns.features if column.kind == "categorical"},
        features=[column.name for column in columns.features],
        labels=[column.name for column in columns.labels] if content.labelled else [],
        classes=classes,
        label=label,
    )
    own += "\n\n".join(inspect.getsource(each) for each in (fitted, as_numbers)) + "\n\n" + READ_TABLE + "\n"
    alone = len({place for (place,) in content.places.values()}) == 1 and content.top == "."
    read: dict[Split, str] = {}
    for split, (table,) in content.places.items():
        place = 'next(path for path in sorted(root.iterdir()) if path.suffix in (".csv", ".parquet"))' if alone else f"root / {table!r}"
        rows = f"rows_of({place})"
        if content.split_column:
            words = tuple(word for word, named in SPLITS.items() if named == split)
            rows = f"[row for row in {rows} if str(row[{content.split_column!r}]).strip().lower() in {words!r}]"
        read[split] = f"Rows({rows})"
    return own + _load(spec, content, read, "that holds the table")


def _idx(spec: JobSpec, content: Content) -> str:
    own = _ARRAYS.format(sample=_sample(spec, "Image.fromarray(self.samples[index])"), label=_label(content, "self.labels[index]"))
    read = {
        split: f"Samples(read_idx(root / {images!r}), read_idx(root / {labels!r}))" for split, (images, labels) in content.places.items()
    }
    return own + _READ_IDX + _load(spec, content, read, "of the unpacked upload")


_READ: dict[Layout, Callable[[JobSpec, Content], str]] = {
    "class_folders": _folders,
    "labelled_images": _labelled,
    "images": _images,
    "arrays": _arrays,
    "idx": _idx,
    "table": _table,
}
