"""Data sets that users bring: taken in, looked at, found, removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.access.quota import QuotaExceeded, of_dataset
from service.datasets.ports import DatasetStore, LocalData, Look
from service.datasets.record import NAME, VERSION, DatasetState, DatasetVersion, key_of
from service.jobs.errors import DatasetNotFound, LocalDataMissing, Unavailable, UploadRefused
from service.jobs.ports import ArtifactStore
from service.spec.catalog import suggest
from service.spec.dataset import LOCAL, PLACED_BY
from service.spec.fixes import setting
from service.spec.verdict import Fault
from service.use_cases.services import Services


@dataclass(frozen=True, kw_only=True)
class Received:
    """An upload that has come in whole: a file of this machine's, its bytes, and their SHA-256, hex."""

    path: Path
    size: int
    sha256: str


def check_name(name: str) -> None:
    """Raises UploadRefused."""
    if not NAME.fullmatch(name):
        detail = f"{name!r} is no name for a data set: lower-case letters, digits, `-`, `_` and `.`, 64 at most, a letter or digit first."
        raise UploadRefused("name", detail)


def check_room(size: int, *, project: str, name: str, services: Services) -> None:
    """Before an upload is sent in vain; `take_in` decides. Raises QuotaExceeded, not where it may be what is there already."""
    room = services.accounts.room(project)
    if room is not None and size > room and not any((each.name, each.size) == (name, size) for each in services.datasets.list(project)):
        used = services.accounts.usage(project).stored_bytes
        raise QuotaExceeded("stored_bytes", used=used, limit=used + room, wanted=size)


def take_in(received: Received, *, project: str, name: str, expected: str | None, services: Services) -> DatasetVersion:
    """Keep an upload, to be looked at. The same bytes are the same version. Raises UploadRefused, QuotaExceeded, Unavailable.

    `expected` is the SHA-256 that the sender says it has.
    """
    if not received.size:
        raise UploadRefused("empty", "The upload has no bytes.")
    if expected is not None and expected.lower() != received.sha256:
        detail = f"What came has the SHA-256 {received.sha256}, and not {expected}: it was damaged on its way. Send it again."
        raise UploadRefused("digest", detail)
    known = _known(project, name, received.sha256, services)
    if known is not None and known.state is not DatasetState.INVALID:
        return known
    version = DatasetVersion(project=project, name=name, version=received.sha256, size=received.size, created_at=services.now())
    owner = of_dataset(name, version.place)
    services.accounts.reserve(project, owner, received.size)
    try:
        services.artifacts.put_file(key_of(version, "upload"), received.path)
    except Unavailable:
        services.accounts.charge(project, owner, 0)
        raise
    stored = services.datasets.put(version)
    if stored.place != version.place:  # the same bytes came twice at once, and the others were faster
        with suppress(Unavailable):  # then `trainyard gc` finds them
            services.artifacts.delete([key_of(version, "upload")])
        return stored
    services.look()
    return stored


def _known(project: str, name: str, version: str, services: Services) -> DatasetVersion | None:
    try:
        return services.datasets.find(project, name, version)
    except DatasetNotFound:
        return None


def look_at_one(services: Services) -> bool:
    """Look at the upload that waits longest; False where none waits. Raises Unavailable: it is looked at again later."""
    version = services.datasets.take(seconds=services.look_seconds)
    if version is None:
        return False
    try:
        look = _look(version, services)
    except OSError as error:
        raise Unavailable(
            f"The API's machine has no room to look at {version.name} ({error.strerror}); it is looked at again later."
        ) from error
    settled = version.settled(look.found, at=services.now())
    if settled.state is DatasetState.READY:
        if look.sheet is not None:
            services.artifacts.put_bytes(key_of(version, "sheet.png"), look.sheet, content_type="image/png")
        services.artifacts.put_bytes(key_of(version, "dataset.json"), settled.model_dump_json().encode())
    services.datasets.settle(settled)
    return True


def _look(version: DatasetVersion, services: Services) -> Look:
    """Raises Unavailable, OSError."""
    with services.spool.file() as upload, services.spool.scratch() as scratch:
        with upload.open("wb") as out:
            out.writelines(services.artifacts.open(key_of(version, "upload")))
        return services.inspector.look(upload, scratch, alive=lambda: services.datasets.hold(version, seconds=services.look_seconds))


def find_dataset(project: str, name: str, version: str | None, *, services: Services) -> DatasetVersion:
    """One version; the newest that is ready where none is named. Raises DatasetNotFound."""
    if version is not None and not VERSION.fullmatch(version):
        raise DatasetNotFound(name, version)
    return services.datasets.find(project, name, version)


def remove_dataset(project: str, name: str, version: str | None, *, services: Services) -> None:
    """Remove a version, or all of them. Raises DatasetNotFound, and DatasetInUse while a job needs one."""
    if version is not None:
        services.datasets.remove(find_dataset(project, name, version, services=services))
        return
    versions = [each for each in services.datasets.list(project) if each.name == name]
    if not versions:
        raise DatasetNotFound(name)
    for each in versions:
        services.datasets.remove(each)


def read_dataset(version: DatasetVersion, file: str, *, artifacts: ArtifactStore) -> Iterator[bytes]:
    """One of its objects, in chunks. Raises ArtifactNotFound."""
    return artifacts.open(key_of(version, file))


def all_datasets(project: str, *, services: Services) -> Sequence[DatasetVersion]:
    """Every version of every data set, by name, the newest first of each."""
    return services.datasets.list(project)


def is_brought(body: Mapping[str, Any]) -> bool:
    """Whether a spec trains on data that somebody brought, so that it has to be looked up what they are."""
    dataset = body.get("dataset")
    if not isinstance(dataset, Mapping):
        return False
    where = PLACED_BY.get(str(dataset.get("type")))
    return where is not None and isinstance(dataset.get(where), str)


def with_content(body: Mapping[str, Any], *, project: str, services: Services) -> tuple[Mapping[str, Any], list[Fault]]:
    """The body of a spec with what is in the data that it names, and what is wrong with these."""
    if not is_brought(body):
        return body, []
    if body["dataset"]["type"] == "Upload":
        return _with_upload(body, project=project, datasets=services.datasets)
    return _with_local(body, services.local_data)


_FITTING = {"ImageFolder": ("class_folders", "labelled_images", "images", "idx"), "Tensors": ("arrays",), "Table": ("table",)}


def _with_local(body: Mapping[str, Any], data: LocalData) -> tuple[Mapping[str, Any], list[Fault]]:
    dataset = {name: value for name, value in body["dataset"].items() if name != "content"}
    kind, whole = dataset["type"], {**body, "dataset": dataset}
    where = LOCAL[kind]
    try:
        found = data.find(dataset[where])
    except LocalDataMissing as error:
        return whole, [Fault(pointer=f"/dataset/{where}", code="no_dataset", detail=str(error), suggestion=error.cure)]
    flaws = [
        Fault(
            pointer=f"/dataset/{where}",
            code=flaw.code,
            detail=f"{flaw.entry}: {flaw.detail}".removeprefix(": "),
            suggestion=flaw.suggestion,
        )
        for flaw in found.flaws
    ]
    if found.content is None:
        return whole, flaws
    if found.content.layout not in _FITTING[kind]:
        right = next(name for name, layouts in _FITTING.items() if found.content.layout in layouts)
        detail = f"{dataset[where]} is a {right}, and no {kind}."
        where, cure = "/dataset/type", f"Set type: {right}."
        return whole, [Fault(pointer=where, code="wrong_type", detail=detail, suggestion=cure, fix=setting(where, right))]
    return {**body, "dataset": {**dataset, "content": found.content.model_dump(mode="json")}}, []


def _with_upload(body: Mapping[str, Any], *, project: str, datasets: DatasetStore) -> tuple[Mapping[str, Any], list[Fault]]:
    dataset = {name: value for name, value in body["dataset"].items() if name != "content"}
    wanted = dataset.get("version")
    if wanted is not None and not (isinstance(wanted, str) and VERSION.fullmatch(wanted)):
        detail, suggestion = (
            f"`{wanted}` is no version.",
            "It is a SHA-256, or eight or more of its first digits; leave it out for the newest.",
        )
        return {**body, "dataset": dataset}, [Fault(pointer="/dataset/version", code="no_version", detail=detail, suggestion=suggestion)]
    try:
        found = datasets.find(project, dataset["name"], wanted)
    except DatasetNotFound as error:
        known = sorted({each.name for each in datasets.list(project)})
        return {**body, "dataset": dataset}, [no_dataset(error, close=suggest(dataset["name"], known))]
    if found.content is None:
        looking = found.state is DatasetState.VALIDATING
        detail = f"Data set {found.name} {'is still being looked at' if looking else 'cannot be used'} (version {found.version[:12]})."
        cure = (
            "Wait until GET /v1/datasets says ready."
            if looking
            else "GET /v1/datasets says what is wrong with it; upload it again, mended."
        )
        return {**body, "dataset": dataset}, [Fault(pointer="/dataset/name", code="not_ready", detail=detail, suggestion=cure)]
    return {**body, "dataset": {**dataset, "version": found.version, "content": found.content.model_dump(mode="json")}}, []


def no_dataset(error: DatasetNotFound, *, close: str | None = None) -> Fault:
    """The fault of a spec that names a data set that is not there."""
    cure = f"Did you mean `{close}`? " if close else ""
    pointer = "/dataset/version" if error.version else "/dataset/name"
    cure += f"Upload it: trainyard datasets push {error.name} PATH."
    fix = setting("/dataset/name", close) if close else None
    return Fault(pointer=pointer, code="no_dataset", detail=str(error), suggestion=cure, fix=fix)
