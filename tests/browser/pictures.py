"""Takes the pictures of docs/images: `python -m tests.browser.pictures`. Every page, light and dark, on a desk and on a phone.

The jobs in them are real: examples on digits, one that fails, one that still trains.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright
from sklearn.datasets import load_digits

from service import local
from service.client.sdk import Client
from service.spec.text import parse_body

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs" / "images"
EXAMPLES = ROOT / "service" / "spec" / "examples"
WIDTHS = {"desk": 1280, "phone": 390}
COLOURS = 128
SETTLED_MS = 1500
"""What the last picture, curve or font of a page may take after the network is quiet."""


def main() -> int:
    """Start a service, train, take the pictures."""
    with (
        tempfile.TemporaryDirectory(prefix="trainyard-pictures-") as folder,
        local.running(local.Plan(data_dir=Path(folder), port=local.free_port())) as running,
        Client(running.url) as client,
    ):
        jobs = trained(client, Path(folder))
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or sys.exit("Chromium is not installed.")
            browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for picture in taken(browser, running.url, pages(jobs)):
                print(picture.relative_to(ROOT))
            browser.close()
        client.cancel(jobs["running"])
    return 0


def trained(client: Client, folder: Path) -> dict[str, Any]:
    """Jobs worth looking at, by what they show."""
    pushed(client, folder)
    runs = []
    for lr in (0.1, 0.03, 0.01, 0.003):
        spec = example("digits-cnn") | {"name": f"cnn, lr {lr}", "labels": {"sweep": "lr"}, "epochs": 12}
        spec["optimizer"] = {"type": "AdamW", "lr": lr}
        runs.append(client.submit(spec)["id"])
    best = client.submit(example("digits-residual") | {"name": "residual", "labels": {"course": "intro"}})["id"]
    broken = client.submit(failing())["id"]
    for job_id in [*runs, best, broken]:
        client.wait(job_id)
    long = example("digits-cnn") | {"name": "a week on digits", "epochs": 4000, "labels": {"course": "intro"}}
    running = client.submit(long)["id"]
    next(event for event in client.events(running) if event["type"] == "epoch" and event["message"].startswith("epoch 8:"))
    client.submit(example("digits-mlp") | {"name": "waits its turn"})
    return {"runs": runs, "best": best, "running": running}


def example(name: str) -> dict[str, Any]:
    """A spec that runs."""
    return parse_body((EXAMPLES / f"{name}.yaml").read_bytes(), "application/yaml")


def failing() -> dict[str, Any]:
    """A spec whose loss is no number soon."""
    return example("digits-mlp") | {"name": "too bold", "optimizer": {"type": "SGD", "lr": 1e9}, "training": {"deterministic": True}}


def pushed(client: Client, folder: Path) -> None:
    """Digits as folders of pictures."""
    digits = load_digits()
    for at, (image, label) in enumerate(zip(digits.images[:400], digits.target[:400], strict=True)):
        place = folder / "digits" / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(np.uint8)).save(place / f"{at}.png")
    dataset = client.push("digits", folder / "digits")
    client.wait_dataset("digits", dataset["version"])


def pages(jobs: dict[str, Any]) -> dict[str, str]:
    """Each page's address, by the picture's name."""
    return {
        "jobs": "/",
        "job": f"/jobs/{jobs['best']}",
        "running": f"/jobs/{jobs['running']}",
        "new": "/jobs/new?example=digits-cnn",
        "compare": "/compare?" + "&".join(f"job={run}" for run in jobs["runs"]),
        "datasets": "/datasets",
        "dataset": "/datasets/digits",
        "workers": "/workers",
        "catalog": "/catalog",
        "api": "/docs",
    }


def taken(browser: Browser, url: str, addresses: dict[str, str]) -> Iterator[Path]:
    """Every picture, as it lies in the folder."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for scheme in ("light", "dark"):
        for device, width in WIDTHS.items():
            context = browser.new_context(base_url=url, color_scheme=scheme, viewport={"width": width, "height": 900})  # type: ignore[arg-type]  # one of its words
            page = context.new_page()
            for name, address in addresses.items():
                page.goto(address)
                scrolled(page)
                path = IMAGES / f"{name}-{scheme}-{device}.png"
                small(page.screenshot(full_page=name != "api"), path)
                yield path
            context.close()


def scrolled(page: Page) -> None:
    """Everything that loads when it is seen has been seen."""
    height = page.evaluate("document.documentElement.scrollHeight")
    for _ in range(0, height, 500):
        page.mouse.wheel(0, 500)
        page.evaluate("() => new Promise(requestAnimationFrame)")
    page.evaluate("scrollTo(0, 0)")
    page.wait_for_function("() => !document.querySelector('.htmx-request')")
    page.wait_for_timeout(SETTLED_MS)


def small(picture: bytes, path: Path) -> None:
    """A PNG of few colours: a third of the size, and nobody sees it. Only what can be read at a glance: three screens at most."""
    image = Image.open(BytesIO(picture)).convert("RGB")
    image = image.crop((0, 0, image.width, min(image.height, 2700)))
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
