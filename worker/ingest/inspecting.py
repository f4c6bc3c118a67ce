"""From the bytes of an upload to what is in it: what a child process runs for one inspection."""

from __future__ import annotations

import errno
import json
import shutil
import sys
from pathlib import Path

from service.spec.content import Content, Inspected, Layout
from worker.ingest import arrays, idx, images, tables
from worker.ingest.archives import Limits, kind_of, unpack
from worker.ingest.flaws import BadData, Flaws, bad
from worker.ingest.labels import in_a_table
from worker.ingest.reading import ENDINGS
from worker.ingest.sheet import sheet

DISK_FULL = 3
"""Exit code where the machine has no room."""


def unpacked(upload: Path, folder: Path, limits: Limits | None = None) -> Path:
    """What was uploaded, as files below the empty `folder`: where they begin, without folders that hold nothing but one folder.

    Raises BadData, OSError.
    """
    if upload.is_dir():
        return upload  # a folder of the operator's, as it lies there
    kind = kind_of(upload)
    if kind in ("text", "parquet"):
        target = folder / ("table.parquet" if kind == "parquet" else "table.csv")
        with upload.open("rb") as source, target.open("xb") as out:
            shutil.copyfileobj(source, out)
        return folder
    unpack(upload, folder, limits)
    top = folder
    while len(inside := list(top.iterdir())) == 1 and inside[0].is_dir() and inside[0].name.lower() not in images.SPLITS:
        top = inside[0]
    if not inside:
        raise bad("empty", "There is nothing in it.", suggestion="Send a zip or tar of files, an npz, a CSV or a Parquet table.")
    return top


def layout_of(top: Path) -> Layout:
    """How the files lie."""
    files = [path for path in top.rglob("*") if path.is_file()]
    plain = {path.name.removesuffix(".gz") for path in files}
    if idx.names_of("train")[0] in plain:
        return "idx"
    endings = {path.suffix.lower() for path in files}
    if endings == {".npy"}:
        return "arrays"
    if endings <= set(ENDINGS) and all(path.parent == top for path in files):
        return "table"
    if any(path.suffix.lower() in ENDINGS and path.parent == top for path in files):
        return "labelled_images"
    if endings & set(images.EXTENSIONS) and all(path.is_file() for path in top.iterdir()):
        return "images"
    return "class_folders"


def inspect(top: Path) -> Inspected:
    """Everything that is right or wrong with the files below a folder. Raises OSError for the machine's own trouble."""
    flaws = Flaws()
    content = None
    try:
        content = _inspect(top, flaws)
        if not flaws and not content.sizes.get("train"):
            flaws.add("empty", "There are no training samples.")
    except BadData as error:
        if error.flaw.code not in {each.code for each in flaws.listed}:
            flaws.listed.append(error.flaw)
    except MemoryError:
        flaws.add("too_large", "Looking at it takes too much memory.", suggestion="Send less.")
    return Inspected(content=None if flaws else content, flaws=tuple(flaws.listed), more_flaws=flaws.more)


def _inspect(top: Path, flaws: Flaws) -> Content:
    match layout_of(top):
        case "idx":
            return idx.inspect_idx(top, flaws)
        case "arrays":
            return arrays.inspect_arrays(top, flaws)
        case "table":
            return tables.inspect_table(top, flaws)
        case "labelled_images":
            return inspect_labelled(top, flaws)
        case "images":
            return images.inspect_images(top, flaws)
        case "class_folders":
            return images.inspect_class_folders(top, flaws)


def inspect_labelled(top: Path, flaws: Flaws) -> Content:
    """Images whose labels stand in a table. Raises BadData."""
    table = tables.label_table(top)
    heads, labels, classes, found = in_a_table(top, tables.as_columns(tables.read_table(table)), table.name, flaws)
    shape, mean, std = images.looked_at(top, found, flaws)
    sizes, counts = images.counted(found, classes if labels != "numbers" else ())
    return Content(
        layout="labelled_images",
        places=dict.fromkeys(sizes, (table.name,)),
        samples="images",
        file_column=heads.file,
        label_column=heads.labels[0] if labels == "class" and heads.labels else None,
        split_column=heads.split,
        shape=shape,
        labels=labels,
        classes=classes,
        sizes=sizes,
        counts=counts,
        mean=mean,
        std=std,
    )


def main(upload: Path, folder: Path) -> int:
    """Unpack an upload into a folder, look at it, and print what was found as JSON; beside it lies a contact sheet. Limits are set already."""
    files = folder / "files"
    try:
        files.mkdir()
        top = unpacked(upload, files)
        found = inspect(top)
        if found.content is not None and found.content.samples == "images":
            sheet(top, found.content).save(folder / "sheet.png")
        if found.content is not None:
            beginning = "." if upload.is_dir() else top.relative_to(files).as_posix()
            content = found.content.model_copy(update={"top": beginning})
            found = found.model_copy(update={"content": content})
    except BadData as error:
        found = Inspected(flaws=(error.flaw,))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return DISK_FULL
    sys.stdout.write(found.model_dump_json())
    return 0


def unpack_alone() -> None:
    """Unpack an upload into a folder, and print where in it the data begin, as JSON: `UPLOAD FOLDER`."""
    upload, folder = (Path(each) for each in sys.argv[1:3])
    sys.stdout.write(json.dumps(unpacked(upload, folder).relative_to(folder).as_posix()))
