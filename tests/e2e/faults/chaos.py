"""Chaos: small jobs on a house that faults are thrown at, then judged. `python -m tests.e2e.faults.chaos --seed 1 --jobs 200 --minutes 10`."""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from service.client.errors import Unreachable
from service.jobs.layout import artifacts_prefix
from tests.e2e.faults.history import Seen, look, orphans, violations
from tests.e2e.faults.house import House, running_house
from tests.e2e.faults.storm import Storm
from tests.e2e.stack import until

LEASE_SECONDS = 3.0
TICK_SECONDS = 0.1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What to run, and what to throw at it."""

    seed: int
    jobs: int = 200
    workers: int = 3
    seconds: float = 600
    """How long faults strike; then everything comes to rest, however long that takes within `patience`."""
    patience: float = 600
    allow_orphans: bool = False


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What came of it. `faults` is empty where all is well."""

    seed: int
    jobs: int
    attempts: int
    strikes: Mapping[str, int]
    faults: Sequence[str]
    seconds: float

    def __str__(self) -> str:
        strikes = ", ".join(f"{name} {times}" for name, times in sorted(self.strikes.items()))
        head = f"seed {self.seed}: {self.jobs} jobs, {self.attempts} attempts, {sum(self.strikes.values())} faults, {len(self.faults)} violations"
        return "\n".join([f"{head}, {self.seconds:.0f} s", f"  {strikes}", *(f"  VIOLATION {fault}" for fault in self.faults)])


def specs() -> dict[str, dict[str, Any]]:
    """A handful of jobs of a second or two, each with something that an interruption could spoil."""
    convolution = {"type": "Conv2d", "out_channels": 8, "kernel_size": 3, "padding": 1}
    head = ["Flatten", {"type": "Dropout", "p": 0.3}, {"type": "Linear", "out_features": 10}]
    mlp = ["Flatten", {"type": "Linear", "out_features": 64}, "ReLU", {"type": "Linear", "out_features": 10}]
    cnn = [convolution, "BatchNorm2d", "ReLU", *head]
    turned = [{"type": "RandomAffine", "degrees": 10}]
    adam = {"type": "Adam", "lr": 0.001}
    return {
        "mlp": _spec(mlp, optimizer={"type": "SGD", "lr": 0.05, "momentum": 0.9}, epochs=4),
        "cnn": _spec(cnn, optimizer=adam, epochs=4, checkpoint={"monitor": "val_loss", "mode": "min"}),
        "accumulated": _spec(mlp, optimizer=adam, epochs=6, training={"gradient_accumulation_steps": 3, "clip_grad_norm": 1.0}),
        "augmented": _spec(cnn, optimizer=adam, epochs=2, dataset={"train_transforms": turned}),
        "loaded": _spec(cnn, optimizer=adam, epochs=2, dataset={"train_transforms": turned}, dataloader={"num_workers": 2}),
    }


def _spec(layers: list[Any], *, optimizer: dict[str, Any], epochs: int, **parts: dict[str, Any]) -> dict[str, Any]:
    return {
        "seed": 11,
        "dataset": {"type": "Digits", "validation_split": 0.1, **parts.pop("dataset", {})},
        "dataloader": {"batch_size": 16, **parts.pop("dataloader", {})},
        "model": {"type": "Sequential", "layers": layers},
        "loss": "CrossEntropyLoss",
        "optimizer": optimizer,
        "epochs": epochs,
        "checkpoint": {"every_n_steps": 20, "keep_last": 2, **parts.pop("checkpoint", {})},
        "resources": {"max_retries": 50, "threads": 1},
        **parts,
    }


def run(plan: Plan, folder: Path) -> Verdict:
    """The whole of it, in a house of its own."""
    began = time.monotonic()
    with running_house(folder, seed=plan.seed, TRAINYARD_LEASE_SECONDS=str(LEASE_SECONDS)) as house:
        for number in range(1, plan.workers + 1):
            house.worker(f"w{number}").start()
        references = _references(house)
        storm = Storm(house, seed=plan.seed, lease_seconds=LEASE_SECONDS)
        accepted = _through(storm, house, plan)
        faults = _at_rest(house, storm, accepted, plan)
        seen = look(house, [*references, *accepted])
        faults += violations(seen) + _differing(house, seen, references, accepted)
        faults += _remains(house, seen, allow_orphans=plan.allow_orphans)
        attempts = sum(int(seen.records[id]["attempt"]) for id in accepted if id in seen.records)
    faults += [f"process {pid} is left: {command}" for pid, command in house.processes().items()]
    seconds = time.monotonic() - began
    return Verdict(seed=plan.seed, jobs=len(accepted), attempts=attempts, strikes=storm.strikes, faults=faults, seconds=seconds)


def _references(house: House) -> dict[str, str]:
    """One undisturbed run of each spec: its id, and which."""
    ids = {house.client.submit(spec)["id"]: name for name, spec in specs().items()}
    for id, name in ids.items():
        job = house.client.wait(id, timeout=120)
        assert (job["state"], job["attempt"]) == ("succeeded", 1), f"{name}: {job['error']}"
    return ids


def _through(storm: Storm, house: House, plan: Plan) -> dict[str, str]:
    """Submit while the storm lasts; the ids that were accepted, and of which spec each is."""
    chance, pause = random.Random(plan.seed + 1), threading.Event()
    names = [chance.choice(sorted(specs())) for _ in range(plan.jobs)]
    end, strike_at, gap = time.monotonic() + plan.seconds, 0.0, plan.seconds / plan.jobs
    with ThreadPoolExecutor(1) as pool:
        # the first half at once: there is always something to interrupt
        gaps = [0.0 if 2 * number < plan.jobs else gap for number in range(plan.jobs)]
        submitted = [pool.submit(_submitted, house, name, f"{plan.seed}-{number}", gaps[number]) for number, name in enumerate(names)]
        while time.monotonic() < end:
            if time.monotonic() > strike_at:
                storm.strike()
                strike_at = time.monotonic() + chance.uniform(0.3, 3.0)
            storm.tend()
            pause.wait(TICK_SECONDS)
        storm.calm()
        while not _all_done(submitted):
            storm.tend()
            pause.wait(TICK_SECONDS)
    return dict(zip((each.result() for each in submitted), names, strict=True))


def _all_done(submitted: Sequence[Future[str]]) -> bool:
    return all(each.done() for each in submitted)


def _submitted(house: House, name: str, key: str, gap: float) -> str:
    """Asked again and again until it is accepted, as a client would that must not lose its job."""
    pause = threading.Event()
    pause.wait(gap)
    while True:
        try:
            return str(house.client.submit(specs()[name] | {"name": name}, idempotency_key=key)["id"])
        except Unreachable:
            pause.wait(0.3)


def _at_rest(house: House, storm: Storm, accepted: Mapping[str, str], plan: Plan) -> list[str]:
    """Wait until every job has ended; says which have not in time."""
    deadline, pause, live = time.monotonic() + plan.patience, threading.Event(), list(accepted)
    while live and time.monotonic() < deadline:
        storm.tend()  # what died in the last moment, and what drained
        live = [id for id in live if house.redis.hget(f"ty:job:{id}", "state") not in ("succeeded", "failed", "cancelled")]
        pause.wait(TICK_SECONDS)
    until(lambda: not house.redis.zcard("ty:unsaved") and not house.redis.zcount("ty:garbage", 0, 1000 * time.time()), seconds=60)
    return [f"{id}: not ended {plan.patience:.0f} s after the last fault" for id in live]


def _differing(house: House, seen: Seen, references: Mapping[str, str], accepted: Mapping[str, str]) -> list[str]:
    """Jobs that did not succeed, or whose model is not the undisturbed run's, to the bit."""
    wanted = {name: _digest(house, seen.records[id]) for id, name in references.items()}
    found = []
    for id, name in accepted.items():
        record = seen.records.get(id, {"state": "gone"})
        if record["state"] != "succeeded":
            found.append(f"{id}: a {name} that {record['state']}: {record.get('error', '')}")
        elif _digest(house, record) != wanted[name]:
            found.append(f"{id}: a {name} after {record['attempt']} attempts has other weights than one that nothing happened to")
    return found


def _digest(house: House, record: Mapping[str, str]) -> str:
    prefix = artifacts_prefix(record["project"], record["id"], int(record["token"]))
    return hashlib.sha256(house.read(prefix + "model.safetensors")).hexdigest()


def _remains(house: House, seen: Seen, *, allow_orphans: bool) -> list[str]:
    """What should be gone by now: leases, running jobs, uploads, files that nothing names, processes without a living worker."""
    found = [f"{id}: still in {place}" for place in ("pending", "leases", "running") for id in getattr(seen, place)]
    if not allow_orphans:
        found += [f"orphan {key}" for key in orphans(house, seen)]
        found += [f"upload {key}" for key in house.uploads()]
    return found + [f"process {pid} has no parent of ours: {command}" for pid, command in _strays(house).items()]


def _strays(house: House) -> dict[int, str]:
    """Processes below no living part; listed first, so that one that starts meanwhile is not taken for one."""
    living = house.processes()
    ours = {pid for part in (house.valkey, house.s3, house.api, *house.workers.values()) for pid in part.tree()}
    return {pid: command for pid, command in living.items() if pid not in ours and pid in house.processes()}


def main() -> int:
    """Exit code 1 where anything is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--allow-orphans", action="store_true")
    parser.add_argument("--keep", type=Path, help="a folder for logs and objects, kept")
    chosen = parser.parse_args()
    print(f"seed {chosen.seed}", flush=True)
    plan = Plan(seed=chosen.seed, jobs=chosen.jobs, workers=chosen.workers, seconds=60 * chosen.minutes, allow_orphans=chosen.allow_orphans)
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        verdict = run(plan, chosen.keep or Path(folder))
    print(verdict)
    return 1 if verdict.faults else 0


if __name__ == "__main__":
    sys.exit(main())
