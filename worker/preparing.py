"""What an attempt needs before its trainer starts: a checked spec, the data, weights to start from, a checkpoint to go on from."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.jobs.errors import ArtifactNotFound, JobNotFound
from service.jobs.job import Job
from service.jobs.ports import ArtifactStore, JobStore, Preflight, Report
from service.jobs.state import Reason
from service.spec.checking import needed, verdict
from service.spec.dataset import LOCAL
from service.spec.job import JobSpec
from worker.brought import BroughtShelf
from worker.datasets import DatasetShelf
from worker.outcomes import Ending, failed
from worker.reports import Reporter
from worker.training.cached import entry_of
from worker.uploads import Storage, fetch_checkpoint, fetch_weights


@dataclass(frozen=True, kw_only=True)
class CacheFolder:
    """Where trainers keep decoded data sets, and how much of them. They alone know what is in it."""

    folder: Path
    limit_bytes: int


@dataclass(frozen=True, kw_only=True)
class Sources:
    """Where all of it comes from."""

    jobs: JobStore
    artifacts: ArtifactStore
    shelf: DatasetShelf
    brought: BroughtShelf
    preflight: Preflight
    threads: int
    cache: CacheFolder


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a trainer is handed. `resume` is {directory, epoch, step}."""

    spec: dict[str, Any]
    datasets_dir: Path
    cache: CacheFolder
    initial: Path | None
    resume: dict[str, Any] | None

    def decoded(self) -> list[Path]:
        """Where the cache has the job's data set, and nobody else's."""
        return entry_of(self.cache.folder, JobSpec.model_validate(self.spec).dataset, self.datasets_dir)

    def as_command(self, job: Job, directory: Path) -> dict[str, Any]:
        """The trainer's first command line."""
        return {
            "job_id": job.id,
            "spec": self.spec,
            "directory": str(directory),
            "datasets_dir": str(self.datasets_dir),
            "cache": {"folder": str(self.cache.folder), "limit_bytes": self.cache.limit_bytes},
            "initial": str(self.initial) if self.initial else None,
            "resume": self.resume,
            "inexact": job.exactness.reasons,
        }


def prepare(job: Job, folder: Path, *, sources: Sources, storage: Storage, reporter: Reporter, kept: ExitStack) -> Prepared:
    """Fetch everything into `folder`, as patiently as storage needs; what is shared with other jobs stays until `kept` is closed. Raises Ending, DatasetMissing, StorageGivenUp."""
    spec = _checked_spec(job, sources, reporter)
    datasets_dir = storage.patiently(lambda: _data(job, spec["dataset"], folder, sources, kept))
    initial = storage.patiently(lambda: _initial_weights(job, spec["model"], folder, sources))
    resume, faults = storage.patiently(lambda: fetch_checkpoint(sources.artifacts, job, folder / "resume"))
    for fault in faults:
        reporter.say("warning", fault)
    return Prepared(spec=spec, datasets_dir=datasets_dir, cache=sources.cache, initial=initial, resume=resume)


def _data(job: Job, dataset: dict[str, Any], folder: Path, sources: Sources, kept: ExitStack) -> Path:
    if dataset["type"] == "Upload":
        return kept.enter_context(sources.brought.held(job.project, dataset["name"], dataset["version"]))
    if dataset["type"] in LOCAL:
        return sources.shelf.find_local(dataset[LOCAL[dataset["type"]]], unpacked_in=folder / "data")
    return sources.shelf.find(dataset["type"])


def _checked_spec(job: Job, sources: Sources, reporter: Reporter) -> dict[str, Any]:
    """The resolved spec; where there was no torch beside the API, the check is this attempt's first phase."""
    spec = job.resolved_spec
    if spec is None:
        found = verdict(job.spec, sources.preflight.check(needed(job.spec)), threads=sources.threads)
        if found.resolved_spec is None:
            faults = "; ".join(f"{fault.pointer}: {fault.detail}" for fault in found.errors)
            raise Ending(failed(Reason.BAD_SPEC, faults, hint="Correct the spec and submit again."))
        spec = found.resolved_spec
        reporter.put(Report(resolved_spec=spec, warnings=(*job.warnings, *found.warnings)))
    return spec | {"resources": spec["resources"] | {"device": job.device}}


def _initial_weights(job: Job, model: dict[str, Any], folder: Path, sources: Sources) -> Path | None:
    """The file of weights that the model starts from, where it does not start afresh."""
    if model["type"] == "torchvision" and model["weights"]:
        return sources.shelf.find_weights(model["name"], model["weights"])
    if model["type"] != "Job":
        return None
    target = folder / "initial.safetensors"
    try:
        earlier = sources.jobs.find(job.project, model["job_id"])
        fetch_weights(sources.artifacts, earlier, model["checkpoint"], target)
    except (JobNotFound, ArtifactNotFound) as error:
        raise Ending(failed(Reason.BAD_DATA, f"The weights of job {model['job_id']} are gone: {error}")) from error
    return target
