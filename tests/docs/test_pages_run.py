"""Every block of code of the README and of docs/, done word by word against a real service.

Those that stand no test here say why; tests/unit/test_pages.py lists them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import redis
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from service.adapters import bubblewrap
from service.api.examples import examples
from service.client.sdk import Client
from service.local import free_port
from service.spec.text import parse_body
from tests.docs.reader import Reader
from tests.e2e.stack import Stack, running_stack
from tests.pages import blocks, pages
from tests.servers import S3Server

MNIST = Path(os.environ.get("TRAINYARD_DATASETS_DIR", Path(__file__).parent.parent.parent.parent / "shared" / "data")) / "MNIST"
PAGES = {page: blocks(page, text) for page, text in pages().items()}


@pytest.fixture(scope="module")
def worked(valkey_url: str, s3: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """An API and one worker for all pages, with data of the operator's."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushall()
    data = tmp_path_factory.mktemp("data")
    if MNIST.exists():
        (data / "MNIST").symlink_to(MNIST)
    samples(data)
    with running_stack(
        tmp_path_factory.mktemp("stack"),
        redis_url=valkey_url,
        s3=s3.environment(),
        TRAINYARD_DATASETS_DIR=str(data),
        TRAINYARD_WEBHOOK_ALLOW="127.0.0.1",
    ) as running:
        running.start_worker()
        running.client.validate(examples()["digits-mlp"])  # the checking child is warm; curl alone does not ask again
        running.client.wait_dataset("flowers", running.client.push("flowers", data / "flowers")["version"], timeout=60)
        yield running


def samples(folder: Path) -> None:
    """What a reader would have: images of five classes in folders, arrays, a table, photos."""
    digits = load_digits()
    pixels = np.rint(digits.images * (255 / 16)).astype(np.uint8)
    for at, (image, label) in enumerate(zip(pixels[:400], digits.target[:400], strict=True)):
        if label < 5:
            place = folder / "flowers" / ("daisy", "dandelion", "rose", "sunflower", "tulip")[label]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).resize((24, 24)).save(place / f"{at}.png")
    np.savez(folder / "digits.npz", x=pixels[:600], y=digits.target[:600])
    np.savez(folder / "later.npz", x=pixels[600:700], y=digits.target[600:700])
    Image.fromarray(pixels[1500]).save(folder / "digit.png")
    Image.fromarray(pixels[1500]).resize((28, 28)).save(folder / "photo.png")
    wine = load_wine()
    head = [name.replace("/", "_") for name in wine.feature_names]
    rows = [
        ",".join([*(f"{value:g}" for value in row), ("low", "fair", "high")[kind]])
        for row, kind in zip(wine.data, wine.target, strict=True)
    ]
    (folder / "wine.csv").write_text("\n".join([",".join([*head, "quality"]), *rows, ""]))
    (folder / "rows.csv").write_text("\n".join([",".join(head), *(row.rpartition(",")[0] for row in rows[:2]), ""]))


@pytest.fixture
def reader(worked: Stack, tmp_path: Path) -> Iterator[Reader]:
    """Somebody with a fresh clone and those samples."""
    samples(tmp_path)
    with Reader(worked, tmp_path) as somebody:
        somebody.words = {"9099": str(free_port())}
        yield somebody


@pytest.mark.parametrize("page", [page for page, found in PAGES.items() if found and page not in ("docs/api.md", "docs/tutorial.md")])
def test_a_page_works_word_by_word(page: str, reader: Reader):
    """Each block in its order; what one leaves behind is there for the next."""
    _look_around(page)

    for block in PAGES[page]:
        reader.follow(block)


def test_the_tutorials_loop_and_its_job_give_the_same_file(reader: Reader):
    """The page prints four equal digests: her loop's, the job's, and the two again with the job from her own objects."""
    digests = list[str]()
    for block in PAGES["docs/tutorial.md"]:
        digests += re.findall(r"^([0-9a-f]{64})  ", reader.follow(block), flags=re.MULTILINE)

    assert len(digests) == 4
    assert len(set(digests)) == 1
    assert (reader.folder / "loop.safetensors").read_bytes() == (reader.folder / "job" / "model.safetensors").read_bytes()


def test_every_example_of_the_api_reference_is_answered(reader: Reader):
    """Each with a job in a state that allows it; none is answered by an error. A first key would lock the service: keys are tests/e2e/test_keys.py's."""
    client, found = reader.stack.client, PAGES["docs/api.md"]
    reader.follow(found[0])
    told = {"notify": [{"url": f"http://127.0.0.1:{free_port()}/"}]}
    ended = client.wait(client.submit({**parse_body(found[0].text.encode(), "application/yaml"), **told})["id"], timeout=120)["id"]
    delivery = client.deliveries(ended)[0]["id"]
    client.push("digits", reader.folder / "digits.npz")
    step = str(client.checkpoints(ended)[0]["step"])

    for block in found[1:]:
        if re.search(r"/v1/(keys|projects)\b", block.text):
            continue
        version = next((each["version"] for each in client.datasets() if each["name"] == "digits"), None)
        if version is None:
            version = client.push("digits", reader.folder / "digits.npz")["version"]
        client.wait_dataset("digits", version, timeout=60)
        reader.job_id, reader.words = _suited(client, block.text) or ended, {"VERSION": version, "STEP": step, "DELIVERY": delivery}
        reader.follow(block)

    assert len(found) > 30


def _suited(client: Client, example: str) -> str | None:
    """A job of its own for what changes one."""
    does = re.search(r"JOB_ID/(pause|cancel|resume|retry)\b|-X (DELETE) \S+/jobs/", example)
    if does is None:
        return None
    spec = parse_body(PAGES["docs/api.md"][0].text.encode(), "application/yaml")
    waiting = client.submit({**spec, "resources": {"device": "gpu"}})["id"]
    if does[1] == "resume":
        client.pause(waiting)
    if does[1] == "retry" or does[2]:
        client.cancel(waiting)
    return str(waiting)


def _look_around(page: str) -> None:
    """What is not on every machine."""
    if page == "README.md" and not MNIST.exists():
        pytest.skip(f"MNIST is not in {MNIST}")
    if "type: Module" in "".join(block.text for block in PAGES[page]) and bubblewrap.unavailable():
        pytest.skip(str(bubblewrap.unavailable()))
