"""A store full of ended jobs: some made as every job is, by the store's own calls, the rest copied from them inside the store."""

from __future__ import annotations

import time
from collections.abc import Sequence

import redis

from service.adapters import redis_jobs
from service.adapters.redis_jobs import RedisJobs
from service.adapters.redis_scripts import Scripts
from service.adapters.stores import Stores
from service.jobs.job import CheckpointPointer, Job
from service.jobs.layout import checkpoint_prefix
from service.jobs.ports import Claim, Outcome, Report
from service.jobs.state import Phase

EPOCHS = 5
AT_ONCE = 1000
COPY = """
local from, made = ARGV[1], tonumber(ARGV[2])
local record, rest = redis.call('HGETALL', 'ty:job:' .. from), redis.call('GET', 'ty:job:' .. from .. ':ended')
local name_at
for at = 1, #record, 2 do
  if record[at] == 'name' then name_at = at + 1 end
end
for at = 3, #ARGV do
  local id = ARGV[at]
  record[name_at] = 'copy-' .. id:sub(-8)
  redis.call('HSET', 'ty:job:' .. id, unpack(record))
  redis.call('SET', 'ty:job:' .. id .. ':ended', rest)
  redis.call('ZADD', 'ty:jobs:default:succeeded', string.format('%.0f', made + at), id)
end
for _, name in ipairs({ 'spec', 'resolved' }) do redis.call('HINCRBY', 'ty:spec_uses', redis.call('HGET', 'ty:job:' .. from, name), #ARGV - 2) end
"""


def run_all(url: str) -> list[Job]:
    """Every job that waits, as a worker would run it; then kept as long as anything of it is only for a while. The jobs, as they ended."""
    stores = redis_jobs.connect(url)
    ended = []
    while (claim := stores.attempts.claim(worker="bench", device="cpu")) is not None:
        _train(claim, stores)
        ended.append(claim.job.id)
    _an_hour_later(url, ended)
    jobs = [stores.jobs.find("default", job_id) for job_id in ended]
    stores.close()
    return jobs


def _train(claim: Claim, stores: Stores) -> None:
    """What a worker reports of a small training."""
    for phase in (Phase.PREPARING, Phase.TRAINING):
        stores.facts.report(claim, Report(phase=phase, logs=[phase]))
    for epoch in range(1, EPOCHS + 1):
        step, quality = 21 * epoch, 1 / (epoch + time.time() % 1)
        metrics = {
            "train_loss": quality,
            "train_accuracy": 1 - quality / 3,
            "val_loss": quality * 1.1,
            "val_accuracy": 1 - quality / 2.9,
            "lr": 0.05,
        }
        row = {"epoch": epoch, "step": step, "train_seconds": quality, "samples_per_second": 60_000 * quality, **metrics}
        progress = {"epoch": epoch, "epochs": EPOCHS, "step": step, "steps": 105, "percent": 20.0 * epoch, "eta_seconds": 0.3}
        best = {"monitor": "val_accuracy", "value": metrics["val_accuracy"], "epoch": epoch, "step": step}
        event = {"type": "epoch", "message": f"epoch {epoch}", "data": metrics}
        latest = metrics | {"samples_per_second": row["samples_per_second"]}
        stores.facts.report(claim, Report(progress=progress, metrics=latest, row=row, best=best, events=[event], logs=[str(row)]))
        prefix = checkpoint_prefix(claim.job.project, claim.job.id, claim.token, step)
        stores.attempts.checkpoint(claim, CheckpointPointer(token=claim.token, epoch=epoch, step=step, prefix=prefix), keep=2)
    for phase in (Phase.EVALUATING, Phase.EXPORTING, Phase.UPLOADING):
        tested = {"test_loss": time.time() % 1, "test_accuracy": 0.9417, "peak_memory_bytes": 412_934_144.0}
        stores.facts.report(claim, Report(phase=phase, metrics=tested, dataset_digest="5d" * 32, logs=[phase]))
    stores.attempts.finish(claim, Outcome(kind="succeeded"))


def _an_hour_later(url: str, ended: Sequence[str]) -> None:
    """Sweepers have been by, and live tails have expired."""
    later = redis_jobs.connect(url, now_ms=lambda: int(time.time() * 1000) + 3_600_000)
    while unsaved := later.housekeeping.unsaved(100):
        for job in unsaved:
            later.housekeeping.saved(job)
    while places := later.disposal.littered(100):
        for place in places:
            later.disposal.collected(*place)
    later.close()
    with redis.Redis.from_url(url) as client:
        for job_id in ended:
            client.delete(*(f"ty:job:{job_id}:{part}" for part in ("events", "rows", "logs")))


def multiply(url: str, jobs: Sequence[Job], count: int) -> None:
    """So many copies, each of one of the jobs, under an id and a name of its own. Raises AssertionError where a copy is not like its job."""
    now = int(time.time() * 1000)
    with redis.Redis.from_url(url) as client:
        copy = client.register_script(COPY)
        for start in range(0, count, AT_ONCE):
            ids = [f"job_{now + at:011x}{at:010x}" for at in range(start, min(start + AT_ONCE, count))]
            copy(args=[jobs[start // AT_ONCE % len(jobs)].id, now + start, *ids])
        store = RedisJobs(Scripts(client))
        for start in range(0, count, max(AT_ONCE, count // 20)):
            _assert_alike(jobs[start // AT_ONCE % len(jobs)], f"job_{now + start:011x}{start:010x}", store, client)


def _assert_alike(job: Job, its_copy: str, store: RedisJobs, client: redis.Redis) -> None:
    found = store.find(job.project, its_copy)
    own = {"id", "name", "spec", "resolved_spec"}
    assert found.model_dump(exclude=own) == job.model_dump(exclude=own)
    sizes = [[client.memory_usage(f"ty:job:{each}{part}") for part in ("", ":ended")] for each in (job.id, its_copy)]
    assert all(abs(a - b) <= 32 for a, b in zip(*sizes, strict=True)), sizes
