"""What is to be told of jobs: filled by their moves, leased, settled, replayed, gone with the job; on Redis and in memory."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
import redis

from service.adapters import redis_jobs
from service.adapters.stores import UNREACHABLE_SECONDS, Stores
from service.jobs.errors import DeliveryNotFound, JobNotFound
from service.jobs.job import Endpoint, Job
from service.jobs.ports import Report
from service.jobs.state import JobState
from service.webhooks.delivery import Attempt, DeliveryState, Verdict
from service.webhooks.ports import Limits, Taken
from tests.integration.conftest import LEASE, Clock
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit

HERE, THERE = "https://a.example/token", "https://b.example:8443/token"
AGAIN, DONE, GONE = Verdict(kind="again", after=60), Verdict(kind="delivered"), Verdict(kind="failed", reason="gone", gone=True)


def told(*urls: str, events: tuple[str, ...] = ("succeeded", "failed", "cancelled")) -> tuple[Endpoint, ...]:
    return tuple(Endpoint(url=url, events=events) for url in urls)


def take(stores: Stores, **limits: int) -> Taken | None:
    return stores.outbox.take(lease_seconds=30, limits=Limits(**limits))


def attempted(clock: Clock, status: int | None = 200) -> Attempt:
    return Attempt(at=clock.now(), seconds=0.1, status=status, error=None if status == 200 else "answered otherwise")


def ended(stores: Stores, job: Job) -> Job:
    submit(stores, job)
    return stores.requests.cancel(job.project, job.id)


def test_every_move_that_is_asked_for_is_told_once_and_others_are_not(stores: Stores, new_job: NewJob) -> None:
    """In the order in which they came, with what was known of the job at that moment."""
    job = new_job(name="a", notify=(*told(HERE, events=("running", "succeeded")), *told(THERE, events=("failed",))))
    submit(stores, job)
    taken = claim(stores)
    stores.facts.report(taken, Report(metrics={"train_loss": 0.1 + 0.2}, row={"epoch": 1, "step": 1}))
    stores.attempts.finish(taken, SUCCEEDED)
    stores.attempts.finish(taken, SUCCEEDED)

    found = stores.outbox.of("default", job.id)

    assert [(each.event, each.url, each.state, each.facts.name, each.facts.attempt) for each in found] == [
        ("running", HERE, DeliveryState.PENDING, "a", 1),
        ("succeeded", HERE, DeliveryState.PENDING, "a", 1),
    ]
    assert [dict(each.facts.metrics) for each in found] == [{}, {"train_loss": 0.1 + 0.2}]
    assert len({each.id for each in found}) == 2
    assert all(each.id.startswith("msg_") and "." not in each.id for each in found)


def test_a_failed_attempt_names_the_reason(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A job whose last lease died with no retries left has failed for `worker_lost`."""
    submit(stores, new_job(notify=told(HERE), max_retries=0))
    claim(stores)
    for _ in range(LEASE):
        stores.housekeeping.expire()
        clock.pass_by(5)

    (delivery,) = stores.outbox.of("default", "job-0001")

    assert (delivery.event, delivery.facts.reason) == ("failed", "worker_lost")


def test_a_job_that_tells_nobody_leaves_nothing(stores: Stores, new_job: NewJob) -> None:
    ended(stores, new_job())

    assert take(stores) is None
    assert stores.outbox.of("default", "job-0001") == []


def test_the_secret_url_is_kept_through_the_end_and_a_rebuild(stores: Stores, new_job: NewJob) -> None:
    """Of an ended job whose record was put away, and of one that is restored."""
    job = ended(stores, new_job(notify=told(HERE, THERE)))
    stores.housekeeping.saved(stores.jobs.find("default", job.id))

    assert stores.jobs.find("default", job.id).notify == told(HERE, THERE)
    other = new_job(notify=told(HERE), state=JobState.PAUSED)
    assert stores.rebuilding.restore(other, rows=())
    assert stores.jobs.find("default", other.id).notify == told(HERE)


def test_a_restored_job_tells_again_only_what_happens_from_then_on(stores: Stores, new_job: NewJob) -> None:
    """It was paused before, and that was told before."""
    job = new_job(notify=told(HERE, events=("paused", "cancelled")), state=JobState.PAUSED)
    stores.rebuilding.restore(job, rows=())
    assert stores.outbox.of("default", job.id) == []

    stores.requests.cancel("default", job.id)

    assert [each.event for each in stores.outbox.of("default", job.id)] == ["cancelled"]


def test_a_delivery_is_held_by_one_until_its_lease_ends(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Then another one sends it, under the same id; the first one's word counts no more."""
    ended(stores, new_job(notify=told(HERE)))
    first = take(stores)
    assert first is not None
    assert take(stores) is None

    clock.pass_by(31)
    second = take(stores)

    assert second is not None
    assert second.delivery.id == first.delivery.id
    assert not stores.outbox.settle(first, attempted(clock), DONE)
    assert stores.outbox.settle(second, attempted(clock), DONE)
    assert not stores.outbox.settle(second, attempted(clock), DONE)
    (delivery,) = stores.outbox.of("default", "job-0001")
    assert (delivery.state, delivery.tries, len(delivery.attempts)) == (DeliveryState.DELIVERED, 1, 1)
    clock.pass_by(3600)
    assert take(stores) is None


def test_one_that_failed_comes_again_after_its_pause(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    ended(stores, new_job(notify=told(HERE)))
    taken = take(stores)
    assert taken is not None
    assert stores.outbox.settle(taken, attempted(clock, 500), AGAIN)
    (delivery,) = stores.outbox.of("default", "job-0001")
    assert (delivery.state, delivery.next_attempt_at) == (DeliveryState.PENDING, clock.now() + timedelta(seconds=60))
    assert delivery.attempts == (attempted(clock, 500),)

    clock.pass_by(59)
    assert take(stores) is None
    clock.pass_by(1)
    again = take(stores)

    assert again is not None
    assert (again.delivery.id, again.delivery.tries) == (taken.delivery.id, 1)


def test_an_endpoint_that_is_gone_hears_no_more_of_this_job(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """What waits for it is given up; the other endpoint, and other jobs, go on."""
    events = ("running", "paused", "cancelled")
    submit(stores, new_job(notify=told(HERE, THERE, events=events)))
    for request in (stores.requests.pause, stores.requests.resume, stores.requests.pause):
        request("default", "job-0001")
    taken = take(stores)
    assert taken is not None
    assert taken.delivery.url == HERE
    stores.outbox.settle(taken, attempted(clock, 410), GONE)
    stores.requests.cancel("default", "job-0001")
    ended(stores, new_job(notify=told(HERE)))

    of_both = {
        url: [(each.event, str(each.state), each.reason) for each in stores.outbox.of("default", "job-0001") if each.url == url]
        for url in (HERE, THERE)
    }
    assert of_both[HERE] == [("paused", "failed", "gone")] * 2
    assert of_both[THERE] == [("paused", "pending", None)] * 2 + [("cancelled", "pending", None)]
    assert [str(each.state) for each in stores.outbox.of("default", "job-0002")] == ["pending"]


def test_a_replay_sends_it_again_whatever_came_of_it(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """At once, under the same id, with all its tries before it."""
    ended(stores, new_job(notify=told(HERE)))
    taken = take(stores)
    assert taken is not None
    stores.outbox.settle(taken, attempted(clock, 500), Verdict(kind="failed", reason="Given up after 10 attempts."))
    clock.pass_by(3600)
    assert take(stores) is None

    replayed = stores.outbox.replay("default", "job-0001", taken.delivery.id)

    assert (replayed.state, replayed.reason, replayed.tries, len(replayed.attempts)) == (DeliveryState.PENDING, None, 0, 1)
    again = take(stores)
    assert again is not None
    assert again.delivery.id == taken.delivery.id
    assert stores.outbox.replay("default", "job-0001", taken.delivery.id).next_attempt_at == replayed.next_attempt_at
    assert take(stores) is None, "one that is being sent is left to that"


def test_what_is_not_there_cannot_be_replayed_nor_seen_by_others(stores: Stores, new_job: NewJob) -> None:
    """Another project's job is not found; another job's delivery neither."""
    ended(stores, new_job(notify=told(HERE)))
    ended(stores, new_job())
    (delivery,) = stores.outbox.of("default", "job-0001")

    with pytest.raises(JobNotFound):
        stores.outbox.of("other", "job-0001")
    with pytest.raises(JobNotFound):
        stores.outbox.replay("other", "job-0001", delivery.id)
    with pytest.raises(DeliveryNotFound):
        stores.outbox.replay("default", "job-0002", delivery.id)
    with pytest.raises(DeliveryNotFound):
        stores.outbox.replay("default", "job-0001", "msg_0")


def test_with_the_job_goes_all_that_was_to_be_told(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Also what is being sent."""
    ended(stores, new_job(notify=told(HERE, THERE)))
    taken = take(stores)
    assert taken is not None

    stores.requests.delete("default", "job-0001")

    assert take(stores) is None
    assert not stores.outbox.settle(taken, attempted(clock), AGAIN)
    clock.pass_by(3600)
    assert take(stores) is None
    with pytest.raises(JobNotFound):
        stores.outbox.of("default", "job-0001")


def test_projects_and_endpoints_take_turns(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """A project with many dead endpoints, and an endpoint with many deliveries, leave room for others."""
    for number in range(8):
        ended(stores, new_job(project="many", notify=told(f"https://dead{number % 2}.example/")))
    clock.pass_by(1)
    ended(stores, new_job(project="few", notify=told(HERE)))

    under_way = []
    while (taken := take(stores, project=3, endpoint=2)) is not None:
        under_way.append((taken.delivery.project, taken.delivery.url))

    assert sorted(under_way[:2]) == [("few", HERE), ("many", "https://dead0.example/")]
    assert len(under_way) == 4
    assert max(under_way.count(each) for each in under_way) == 2


def nobody_answers(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Six deliveries to one endpoint, of which the first was sent in vain."""
    for _ in range(6):
        ended(stores, new_job(notify=told(HERE)))
    taken = take(stores)
    assert taken is not None
    stores.outbox.settle(taken, attempted(clock, None), AGAIN)


def test_an_endpoint_that_nobody_answered_at_is_asked_one_at_a_time(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    """Until it answers again, whatever it says."""
    nobody_answers(stores, new_job, clock)

    alone = take(stores)
    assert alone is not None
    assert take(stores) is None
    stores.outbox.settle(alone, attempted(clock, 500), AGAIN)

    assert [take(stores) is not None for _ in range(4)] == [True, True, True, False]


def test_after_an_hour_it_is_asked_as_others_are(stores: Stores, new_job: NewJob, clock: Clock) -> None:
    nobody_answers(stores, new_job, clock)
    clock.pass_by(UNREACHABLE_SECONDS - 1)
    one_at_a_time = [take(stores) is not None for _ in range(2)]

    clock.pass_by(2)

    assert one_at_a_time == [True, False]
    assert [take(stores) is not None for _ in range(3)] == [True, True, False]


def test_a_job_that_moves_for_ever_is_told_of_no_more_but_its_end(stores: Stores, new_job: NewJob) -> None:
    job = new_job(notify=told(HERE, events=("paused", "cancelled")))
    submit(stores, job)
    for _ in range(210):
        stores.requests.pause("default", job.id)
        stores.requests.resume("default", job.id)
    stores.requests.cancel("default", job.id)

    events = [each.event for each in stores.outbox.of("default", job.id)]

    assert (events.count("paused"), events[-1]) == (200, "cancelled")


def test_a_secret_is_made_once_and_a_rotated_one_signs_for_a_day_more(stores: Stores, clock: Clock) -> None:
    first = stores.secrets.of("default")
    assert stores.secrets.of("default") == first
    assert stores.secrets.of("other").current != first.current
    assert first.current.startswith("whsec_")

    second = stores.secrets.rotate("default")

    assert (second.keys, second.previous_until) == ((second.current, first.current), clock.now() + timedelta(days=1))
    assert second.current != first.current
    clock.pass_by(24 * 3600)
    assert stores.secrets.of("default").keys == (second.current,)


def test_several_senders_at_once_take_each_delivery_once(redis_stores: Stores, redis_url: str, new_job: NewJob, clock: Clock) -> None:
    """Three processes, as it were, on one Valkey."""
    for number in range(30):
        ended(redis_stores, new_job(notify=told(f"https://e{number}.example/")))
    others = [redis_jobs.connect(redis_url, now_ms=clock.now_ms) for _ in range(3)]
    seen: list[str] = []

    def send(stores: Stores) -> None:
        while (taken := stores.outbox.take(lease_seconds=30, limits=Limits(project=100))) is not None:
            seen.append(taken.delivery.id)
            assert stores.outbox.settle(taken, attempted(clock), DONE)

    threads = [threading.Thread(target=send, args=(stores,)) for stores in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for stores in others:
        stores.close()

    assert len(seen) == len(set(seen)) == 30


def test_nothing_stays_for_ever(redis_stores: Stores, redis_url: str, new_job: NewJob, clock: Clock) -> None:
    """A settled delivery's keys have an end, places in queues go with what stands in them, and DELETE takes the rest."""
    job = ended(redis_stores, new_job(notify=told(HERE, THERE)))
    with redis.Redis.from_url(redis_url) as client:
        for verdict in (DONE, Verdict(kind="failed", reason="no")):
            taken = take(redis_stores)
            assert taken is not None
            redis_stores.outbox.settle(taken, attempted(clock), verdict)
        kept = [name for name in client.keys("ty:*") if b"deliver" in name]
        assert len(kept) == 5
        assert all(client.ttl(name) > 2_500_000 for name in kept)
        assert client.keys("ty:outbox*") == client.keys("ty:sending*") == []

        redis_stores.requests.delete("default", job.id)

        assert [name for name in client.keys("ty:*") if b"deliver" in name or b":gone" in name] == [b"ty:gone:job-0001"]
