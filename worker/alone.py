"""One job on this machine without services: the child process of `trainyard run`. Stores in memory and a folder stand in for Redis and S3.

Everything else is a worker's: the check, the supervisor, the trainer, the containment; so the artifacts are a job's. Reads one JSON line
{spec, output, device}, and cancels when its input ends. Answers JSON lines: {faults} of a spec that cannot train, or {job} as the API shows
it, {event} and {progress} as they come, {missing} where a part of the installation is, and at last {ended}, the job with its artifacts in `output`.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from service import use_cases
from service.adapters import memory
from service.adapters.folder_artifacts import FolderArtifacts
from service.adapters.inspecting_child import InspectingChildren
from service.adapters.local_data import LocalData
from service.adapters.predicting_child import PredictingChildren
from service.adapters.preflight_child import PreflightChildren, contained_child
from service.adapters.spool import Spool
from service.adapters.stores import Stores
from service.api.views import job_view
from service.background import Repeating
from service.jobs.errors import SpecRejected, Unavailable
from service.jobs.job import Device, Job
from service.jobs.layout import artifacts_prefix
from service.jobs.ports import Claim, FactLog, Report, TailPart, WorkerBeat
from service.jobs.state import JobState
from service.jobs.steps import Steps
from service.settings import SettingsFault
from service.spec.checking import is_custom
from service.spec.verdict import Fault
from service.use_cases.services import Services
from worker.brought import BroughtShelf
from worker.datasets import DatasetShelf
from worker.folders import AttemptFolders
from worker.gpus import GpuPool, visible
from worker.keeper import ZygoteKeeper
from worker.preparing import CacheFolder, Sources
from worker.settings import WorkerSettings
from worker.supervisor import Surroundings, supervise
from worker.zygote import Trainer, ZygoteGone

PROJECT = "default"
FOREVER = 1e8
"""Seconds of a lease: nobody else would take the job of a machine that slept."""
BEAT_SECONDS = 5.0
INSPECT_SECONDS = 10.0


class Voice:
    """Says what happens, a JSON line each, on what was stdout; whatever else prints there goes to stderr from now on."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self._lock = threading.Lock()

    def say(self, **message: Any) -> None:
        """One line. Raises BrokenPipeError where nobody listens any more."""
        with self._lock:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()


@dataclass
class Told:
    """The FactLog, read aloud."""

    facts: FactLog
    stores: Stores
    voice: Voice
    last: int = 0

    def report(self, claim: Claim, report: Report) -> None:
        """Record what an attempt learnt, and say it."""
        self.facts.report(claim, report)
        self.aloud(claim.job.id)

    def aloud(self, job_id: str) -> None:
        """Say what was not said yet."""
        for event in self.facts.events(PROJECT, job_id, after=self.last, limit=1000) or ():
            self.last = event["id"]
            self.voice.say(event=dict(event))
        self.voice.say(progress=self.stores.jobs.find(PROJECT, job_id).progress.model_dump())

    def events(self, project: str, job_id: str, *, after: int, limit: int) -> Sequence[Mapping[str, Any]] | None:
        """As the FactLog's."""
        return self.facts.events(project, job_id, after=after, limit=limit)

    def metrics(self, project: str, job_id: str, *, after: int = -1) -> Sequence[Mapping[str, Any]] | None:
        """As the FactLog's."""
        return self.facts.metrics(project, job_id, after=after)

    def steps(self, project: str, job_id: str, *, after: int = -1) -> Steps | None:
        """As the FactLog's."""
        return self.facts.steps(project, job_id, after=after)

    def lines(self, project: str, job_id: str, part: TailPart, *, after: int = -1) -> bytes | None:
        """As the FactLog's."""
        return self.facts.lines(project, job_id, part, after=after)

    def logs(self, project: str, job_id: str, *, last: int | None = None) -> Sequence[str] | None:
        """As the FactLog's."""
        return self.facts.logs(project, job_id, last=last)


class Soon:
    """The Spawner: a zygote that is started beside the check of the spec. Raises ZygoteGone."""

    def __init__(self, starting: Future[ZygoteKeeper]) -> None:
        self._starting = starting

    def spawn(self, gpus: Sequence[str] = ()) -> Trainer:
        """A new trainer for these GPUs."""
        return self._starting.result().spawn(gpus)

    def refill(self) -> None:
        """There is no next job."""


def main() -> int:
    """Train one job. Exit code 0 where an end was told, whichever it is."""
    voice = Voice()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the command answers Ctrl-C, and ends our input
    order = json.loads(sys.stdin.readline())
    try:
        settings = WorkerSettings.read()
        settings.work_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="alone-", dir=settings.work_dir) as folder, _alone(settings, Path(folder), voice) as alone:
            alone.train(order["spec"], Path(order["output"]), device=order["device"])
    except SpecRejected as error:
        voice.say(faults=[fault.model_dump() for fault in error.faults])
    except (SettingsFault, Unavailable, ZygoteGone) as error:
        voice.say(missing=str(error))
    except OSError as error:
        voice.say(missing=f"{error.filename or settings.work_dir}: {error.strerror}")
    return 0


@dataclass(frozen=True, kw_only=True)
class Alone:
    """A worker's parts without anybody else's."""

    settings: WorkerSettings
    stores: Stores
    services: Services
    artifacts: FolderArtifacts
    folder: Path
    folders: AttemptFolders
    threads: ThreadPoolExecutor
    kept: ExitStack
    voice: Voice

    def train(self, spec: Mapping[str, Any], output: Path, *, device: Device | None) -> None:
        """Check, train, and put what came of it into `output`. Raises SpecRejected, Unavailable."""
        if faults := needs_a_service(spec):
            raise SpecRejected(faults)
        spawner = self._spawner(spec)
        devices: tuple[Device, ...] = (device,) if device else ("cpu", "gpu") if has_gpu() else ("cpu",)
        pool = _pool() if "gpu" in devices else None
        beating = Repeating("beat", BEAT_SECONDS, partial(self._beat, devices, pool)).start()
        self.kept.callback(beating.stop)
        self._beat(devices, pool)
        job = use_cases.submit(spec, project=PROJECT, idempotency=None, services=self.services).job
        if job.device not in devices:
            raise SpecRejected(
                [
                    Fault(
                        pointer="/resources/device", code="no_gpu", detail=f"There is no {job.device} here.", suggestion="Say device: auto."
                    )
                ]
            )
        most = pool.most if pool else 1
        if job.device == "gpu" and job.gpus > most:
            detail = f"There are not so many GPUs here: a job can have {most}."
            raise SpecRejected([Fault(pointer="/resources/gpus", code="no_gpu", detail=detail, suggestion=f"Say gpus: {most}.")])
        self.voice.say(job=shown(job))
        threading.Thread(target=self._cancel_at_the_end_of_input, args=(job.id,), daemon=True).start()
        told = Told(self.stores.facts, self.stores, self.voice)
        around = self._around(told, spawner)
        gpus = pool.take(job.gpus) if pool and job.device == "gpu" else ()
        while (claim := self._claim(job.device, most)) is not None:
            supervise(claim, around, gpus)
            told.aloud(job.id)
        job = self.stores.jobs.find(PROJECT, job.id)
        self._hand_over(job, output)
        self.voice.say(ended=shown(job))

    def _claim(self, device: Device, gpus: int) -> Claim | None:
        return self.stores.attempts.claim(worker="alone", device=device, free_gpus=gpus, most_gpus=gpus)

    def _beat(self, devices: Sequence[Device], pool: GpuPool | None) -> None:
        """Say that somebody works here: who is silent for half a minute is forgotten, and the check of a spec may take longer."""
        for each in devices:
            beat = WorkerBeat(name=each, device=each, slots=1, busy=0, threads=self.settings.threads, job_gpus=pool.most if pool else 1)
            self.stores.workers.beat(beat)

    def _spawner(self, spec: Mapping[str, Any]) -> Soon:
        """A zygote on its way, unless the trainer starts cold."""
        if is_custom(spec) and not self.settings.uncontained_code:
            return Soon(Future())
        starting = self.threads.submit(ZygoteKeeper, log_path=self.settings.zygote_log)
        self.kept.callback(_close, starting)
        return Soon(starting)

    def _around(self, told: Told, spawner: Soon) -> Surroundings:
        settings = self.settings
        return Surroundings(
            sources=Sources(
                jobs=self.stores.jobs,
                artifacts=self.artifacts,
                shelf=DatasetShelf(operators=settings.datasets_dir, fetched=settings.work_dir / "datasets", artifacts=self.artifacts),
                brought=BroughtShelf(settings.work_dir / "uploads", settings.cache_bytes, self.artifacts, self.stores.datasets),
                preflight=self.services.preflight,
                threads=settings.threads,
                cache=CacheFolder(folder=settings.work_dir / "cache", limit_bytes=settings.cache_bytes),
            ),
            attempts=self.stores.attempts,
            facts=told,
            disposal=self.stores.disposal,
            folders=self.folders,
            trusts_code=settings.uncontained_code,
            spawner=spawner,
            draining=threading.Event(),
            stall_seconds=settings.stall_seconds,
            storage_patience_seconds=0,
        )

    def _cancel_at_the_end_of_input(self, job_id: str) -> None:
        sys.stdin.read()
        if not self.stores.jobs.find(PROJECT, job_id).is_terminal:
            self.stores.requests.cancel(PROJECT, job_id)

    def _hand_over(self, job: Job, output: Path) -> None:
        """A job's artifacts, or of a failed one what tells why."""
        if job.state is JobState.SUCCEEDED:
            home = self.folder / "store" / artifacts_prefix(PROJECT, job.id, job.token)
            for path in sorted(path for path in home.rglob("*") if path.is_file()):
                target = output / path.relative_to(home)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(path, target)
        elif job.state is JobState.FAILED:
            output.mkdir(parents=True, exist_ok=True)
            (output / "logs.txt").write_text("".join(f"{line}\n" for line in self.stores.facts.logs(PROJECT, job.id) or ()))
            (output / "job.json").write_text(job.model_dump_json(indent=2, exclude={"notify"}) + "\n")


@contextmanager
def _alone(settings: WorkerSettings, folder: Path, voice: Voice) -> Iterator[Alone]:
    """The parts, joined, and ended in order."""
    with ExitStack() as kept:
        stores = memory.stores(now=now, lease_seconds=FOREVER)
        artifacts = FolderArtifacts(folder / "store")
        preflight = PreflightChildren(contained=partial(contained_child, trusts_code=settings.uncontained_code))
        kept.callback(preflight.close)
        spool = Spool(folder / "spool")
        kept.callback(spool.close)
        inspector = InspectingChildren(alive_seconds=INSPECT_SECONDS)
        local_data = LocalData(settings.datasets_dir, inspector=inspector, spool=spool)
        kept.callback(local_data.close)
        predictor = PredictingChildren(spool.folder / "models", trusts_code=settings.uncontained_code)
        kept.callback(predictor.close)
        services = Services(
            jobs=stores.jobs,
            intake=stores.intake,
            requests=stores.requests,
            facts=stores.facts,
            artifacts=artifacts,
            links=None,
            preflight=preflight,
            workers=stores.workers,
            datasets=stores.datasets,
            local_data=local_data,
            inspector=inspector,
            predictor=predictor,
            spool=spool,
            outbox=stores.outbox,
            secrets=stores.secrets,
            reach=None,
            tell=lambda: None,
            threads=settings.threads,
            accounts=stores.accounts,
            ring=lambda *_: None,
            look=lambda: None,
            look_seconds=INSPECT_SECONDS,
            upload_bytes=0,
            now=now,
        )
        folders = kept.enter_context(AttemptFolders(settings.work_dir, folder.name))
        yield Alone(
            settings=settings,
            stores=stores,
            services=services,
            artifacts=artifacts,
            folder=folder,
            folders=folders,
            threads=kept.enter_context(ThreadPoolExecutor(1)),
            kept=kept,
            voice=voice,
        )


def _close(starting: Future[ZygoteKeeper]) -> None:
    """End a zygote, once it stands; whoever asked it for a trainer has heard why where it does not."""
    if starting.exception() is None:
        starting.result().close()


def now() -> datetime:
    """The time, in UTC."""
    return datetime.now(UTC)


def has_gpu() -> bool:
    """Whether NVIDIA's driver shows one; asking torch would take seconds, and another process."""
    return Path("/dev/nvidia0").exists()


def _pool() -> GpuPool | None:
    """The GPUs of this machine; None where nobody knows them."""
    gpus = visible(os.environ)
    return GpuPool(gpus, slots=1) if gpus else None


def shown(job: Job) -> dict[str, Any]:
    """A job as the API shows it."""
    return job_view(job, position=None, start=None).model_dump(mode="json")


def needs_a_service(spec: Mapping[str, Any]) -> list[Fault]:
    """What only a service has: uploads, and other jobs' models."""
    kinds = {name: part.get("type") if isinstance(part, Mapping) else part for name in ("dataset", "model") for part in [spec.get(name)]}
    faults = []
    if kinds["dataset"] == "Upload":
        cure = "Name a folder or file below TRAINYARD_DATASETS_DIR (ImageFolder, Tensors, Table), or submit the job."
        faults.append(
            Fault(
                pointer="/dataset/type",
                code="no_service",
                detail="Uploaded data lie with a service, and none runs this job.",
                suggestion=cure,
            )
        )
    if kinds["model"] == "Job":
        faults.append(
            Fault(
                pointer="/model/type",
                code="no_service",
                detail="Other jobs lie with a service, and none runs this one.",
                suggestion="Submit the job.",
            )
        )
    return faults


if __name__ == "__main__":
    sys.exit(main())
