"""Everything that can go wrong around a job, as one tree:

TrainyardError
├── JobNotFound          no such job in this project
├── IllegalTransition    the job's state does not allow the request
├── StillNeeded          another job starts from this one's checkpoint
├── IdempotencyConflict  the key was used before with another body
├── QuotaExceeded        the project has all that it may have (service/access/quota.py)
├── Outdated             a submission went by an outlook that has changed; never seen by users
├── ArtifactNotFound     no such object
├── DatasetNotFound      no such data set, or version of it, in this project
├── DeliveryNotFound     nothing of that id was or is to be told of the job
├── LocalDataMissing     no such folder or file where the operator keeps data
├── DatasetInUse         a job that has not ended needs the data set
├── Unpredictable       a model cannot take these samples, or gave no answer
├── UploadRefused        an upload that cannot be taken, before anybody looked at it
├── NotFinished          artifacts were asked for before the end
├── Fenced               this attempt no longer owns the job: stop, write nothing
├── NewerFormat          the store's keys are of a newer version than this code knows
├── SpecRejected         the spec cannot train; carries every fault
└── Unavailable          a part that we need does not answer
    ├── StoreUnavailable     Redis or Valkey
    ├── StorageUnavailable   S3
    ├── PreflightBusy        every checking child is taken
    ├── LookedAt             data are being looked at; the next try may find them done
    └── PredictBusy          models are asked already
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from service.spec.verdict import Fault


class TrainyardError(Exception):
    """The root: everything below is one of ours and safe to show to a user."""


class JobNotFound(TrainyardError):
    """No such job in this project."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}.")
        self.job_id = job_id


class IllegalTransition(TrainyardError):
    """The job's state does not allow the request."""

    def __init__(self, job_id: str, *, state: str, wanted: str) -> None:
        super().__init__(f"Job {job_id} is {state}; it cannot become {wanted}.")
        self.job_id, self.state, self.wanted = job_id, state, wanted


class StillNeeded(TrainyardError):
    """The job cannot be deleted yet: another one starts from its checkpoint."""

    def __init__(self, job_id: str, *, by: str) -> None:
        super().__init__(f"Job {job_id} cannot be deleted yet: job {by} starts from its checkpoint, and has none of its own so far.")
        self.job_id, self.by = job_id, by


class IdempotencyConflict(TrainyardError):
    """The Idempotency-Key was used before with another body."""

    def __init__(self, key: str, *, job_id: str) -> None:
        super().__init__(f"Idempotency-Key {key!r} was used before with another body, for job {job_id}.")
        self.key, self.job_id = key, job_id


class Outdated(TrainyardError):
    """What the submission went by has changed: look again and repeat it."""


class ArtifactNotFound(TrainyardError):
    """No such object in storage."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no artifact {path!r}.")
        self.path = path


class DatasetNotFound(TrainyardError):
    """No such data set, or version of it, in this project."""

    def __init__(self, name: str, version: str | None = None) -> None:
        super().__init__(f"There is no data set {name!r}{f' of version {version}' if version else ''}.")
        self.name, self.version = name, version


class DeliveryNotFound(TrainyardError):
    """Nothing of that id was or is to be told of the job."""

    def __init__(self, delivery_id: str, *, job_id: str) -> None:
        super().__init__(f"Job {job_id} has no delivery {delivery_id!r}; they are kept for a month after their end.")
        self.delivery_id, self.job_id = delivery_id, job_id


class LocalDataMissing(TrainyardError):
    """No such folder or file where the operator keeps data; `cure` says what would help."""

    def __init__(self, detail: str, cure: str) -> None:
        super().__init__(detail)
        self.cure = cure


class DatasetInUse(TrainyardError):
    """The data set cannot be removed yet: a job that has not ended needs it."""

    def __init__(self, name: str, *, by: str) -> None:
        super().__init__(f"Data set {name} cannot be removed yet: job {by} needs it. Cancel the job, or wait for its end.")
        self.name, self.by = name, by


class UploadRefused(TrainyardError):
    """An upload that cannot be taken. `kind` is a word for programs: name, empty, too_large, digest, cut_off, disk_full."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class Unpredictable(TrainyardError):
    """A model cannot take these samples, or gave no answer; the text says why."""


class NotFinished(TrainyardError):
    """Artifacts were asked for before the job ended."""

    def __init__(self, job_id: str, *, state: str) -> None:
        super().__init__(f"Job {job_id} is {state}; its artifacts are there once it has ended.")
        self.job_id, self.state = job_id, state


class Fenced(TrainyardError):
    """This attempt no longer owns the job: kill the trainer and write nothing."""

    def __init__(self, job_id: str, *, token: int) -> None:
        super().__init__(f"Token {token} no longer owns job {job_id}.")
        self.job_id, self.token = job_id, token


class NewerFormat(TrainyardError):
    """The store was written by a newer version, in a way that this one does not know: touch nothing."""

    def __init__(self, found: int, *, known: int) -> None:
        super().__init__(
            f"The store at REDIS_URL has keys of format {found}; this version of Trainyard knows {known} and older ones. "
            "Start the version that wrote them, or go back to a backup from before the upgrade (docs/howto/upgrade.md)."
        )


class SpecRejected(TrainyardError):
    """The spec cannot train; carries every fault found."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults))
        self.faults = tuple(faults)


class Unavailable(TrainyardError):
    """A part that the service needs does not answer; trying again later helps."""

    retry_after_seconds = 5

    def __init__(self, message: str = "", *, cure: str = "") -> None:
        super().__init__(f"{message} {cure}".strip())
        self.cure = cure


class StoreUnavailable(Unavailable):
    """Redis or Valkey does not answer, or is full."""


class StorageUnavailable(Unavailable):
    """The S3 server does not answer."""


class PreflightBusy(Unavailable):
    """Every checking child is taken."""

    retry_after_seconds = 1


class PredictBusy(Unavailable):
    """Models are asked already, by others."""

    retry_after_seconds = 1


class LookedAt(Unavailable):
    """Data are being looked at for the first time; the next try may find them done."""

    def __init__(self, name: str) -> None:
        super().__init__(f"{name} is being looked at for the first time; ask again.")
