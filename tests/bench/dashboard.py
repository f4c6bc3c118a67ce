"""What the dashboard takes where there is much: `python -m tests.bench.dashboard`.

A list of 10,000 jobs, opened; the page of a running job with 100,000 logged steps and 10,000 epochs, loaded, and brought up to date while
more come. Real Chromium, real service; every figure is printed with what was promised.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Sequence
from statistics import median
from typing import Any

from playwright.sync_api import Browser, CDPSession, sync_playwright

from service.adapters import redis_jobs
from service.adapters.stores import Stores
from service.client.sdk import Client
from service.jobs.ports import Claim, Report
from service.jobs.state import Phase
from tests.bench.ended import multiply, run_all
from tests.bench.ground import service

JOBS, STEPS, EPOCHS, AT_ONCE = 10_000, 100_000, 10_000, 1000
OPENED, UPDATES = 7, 20
SPEC: dict[str, Any] = {
    "name": "long",
    "dataset": "Digits",
    "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    "loss": "CrossEntropyLoss",
    "optimizer": {"type": "Adam", "lr": 0.01},
    "epochs": 20_000,
    "training": {"log_every_n_steps": 1},
}


def main() -> int:
    """Fill, look, print."""
    with service(workers=0) as stack, sync_playwright() as playwright:
        url = stack.environment["REDIS_URL"]
        for at in range(JOBS // AT_ONCE):
            stack.client.submit(SPEC | {"name": f"job {at}", "epochs": 5, "labels": {"at": str(at)}})
        multiply(url, run_all(url), JOBS - JOBS // AT_ONCE)
        stores = redis_jobs.connect(url)
        claim = running(stack.client, stores)
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        opened = list_opened(browser, stack.client.url)
        print(f"GET / of {JOBS:,} jobs until its table is drawn: {median(opened):.0f} ms (p50 of {OPENED}; promised < 1,000)")
        for kind in ("epoch", "step"):
            report_updates(browser, stack.client.url, claim, stores, kind)
        browser.close()
        stores.close()
    return 0


def running(client: Client, stores: Stores) -> Claim:
    """A job that is far on, as a worker reports it."""
    client.submit(SPEC)
    claim = stores.attempts.claim(worker="bench", device="cpu")
    assert claim is not None
    stores.facts.report(claim, Report(phase=Phase.TRAINING))
    for start in range(1, STEPS + 1, AT_ONCE):
        stores.facts.report(claim, Report(steps=[logged(step) for step in range(start, start + AT_ONCE)]))
    for epoch in range(1, EPOCHS + 1):
        stores.facts.report(claim, grown(epoch))
    return claim


def logged(step: int) -> Sequence[float]:
    """One step, as a training would report it."""
    return (step, step // 10 + 1, 2.3 / (1 + step / 5000) + 0.1 * ((step * 7919) % 101) / 101, 0.01)


def grown(epoch: int) -> Report:
    """One epoch of ten steps."""
    loss = 2.3 / (1 + epoch / 500)
    metrics = {"train_loss": loss, "val_loss": 1.1 * loss, "train_accuracy": 1 - loss / 3, "val_accuracy": 1 - loss / 2.9, "lr": 0.01}
    row = {"epoch": epoch, "step": 10 * epoch, "train_seconds": 0.1, "samples_per_second": 14_000.0, **metrics}
    progress = {"epoch": epoch, "epochs": 20_000, "step": 10 * epoch, "steps": 200_000, "percent": epoch / 200, "eta_seconds": 1000.0}
    event = {"type": "epoch", "message": f"epoch {epoch}", "data": metrics}
    return Report(metrics=metrics, row=row, progress=progress, events=[event])


def list_opened(browser: Browser, url: str) -> list[float]:
    """Milliseconds from the address to the drawn table, in a fresh profile each time."""
    taken = []
    for _ in range(OPENED):
        context = browser.new_context(base_url=url)
        page = context.new_page()
        started = time.perf_counter()
        page.goto("/", wait_until="commit")
        page.locator("tbody tr").nth(49).wait_for()
        taken.append(1000 * (time.perf_counter() - started))
        context.close()
    return taken


def report_updates(browser: Browser, url: str, claim: Claim, stores: Stores, kind: str) -> None:
    """Load the job's page, look at it by epoch or by step, and bring it up to date again and again."""
    context = browser.new_context(base_url=url)
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Network.enable")
    devtools.send("Performance.enable")
    received: list[float] = []
    devtools.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(f"/jobs/{claim.job.id}")
    page.locator(f"input[name=per][value={kind}]").check(force=True)
    page.locator(".chart canvas").first.wait_for()
    loaded = sum(received)
    page.evaluate("performance.clearResourceTimings()")
    before = busy(devtools)
    for at in range(UPDATES):
        step = STEPS + {"epoch": 0, "step": 5000}[kind] + 10 * at
        stores.facts.report(claim, Report(steps=[logged(each) for each in range(step + 1, step + 11)]))
        stores.facts.report(claim, grown(step // 10 + 1))
        with page.expect_response(lambda answer: "/metrics?" in answer.url and '"step"' in answer.text()):
            pass
    spent = (busy(devtools) - before) / UPDATES
    asked = page.evaluate(
        "performance.getEntriesByType('resource').filter((each) => each.name.includes('/metrics?')).map((each) => each.duration)"
    )
    print(
        f"/jobs/ID per {kind} with {STEPS:,} steps and {EPOCHS:,} epochs: {loaded / 1000:.0f} kB a load (promised < 200), "
        f"{spent:.0f} ms of the page and {median(asked):.0f} ms of the answer an update (promised < 100)"
    )
    context.close()


def busy(devtools: CDPSession) -> float:
    """Milliseconds that the page's thread has worked."""
    told = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    return 1000 * float(told["TaskDuration"])


if __name__ == "__main__":
    sys.exit(main())
