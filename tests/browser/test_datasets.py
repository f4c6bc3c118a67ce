"""Data sets in a real browser: uploaded, looked at, removed."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from service.client.sdk import Client
from tests.browser.conftest import expected, faults_for_everyone

TABLE = "size,colour,kind\n" + "".join(f"{at / 10},{'red' if at % 3 else ''},{'apple' if at % 2 else 'pear'}\n" for at in range(60))
RIGHT = {"cats": 6, "dogs": 3}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table as people have them, under a name that is none for a data set."""
    path = tmp_path / "My Fruit.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture(scope="module")
def pictures(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A data set of images that is ready."""
    path = tmp_path_factory.mktemp("pictures") / "pets.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for kind, images in RIGHT.items():
            for at in range(images):
                out = io.BytesIO()
                Image.new("RGB", (16, 16), (20 * at, 90, 200)).save(out, "PNG")
                archive.writestr(f"{kind}/{at}.png", out.getvalue())
    assert client.wait_dataset("pets", client.push("pets", path)["version"])["state"] == "ready"
    return "pets"


def test_a_table_is_chosen_named_uploaded_and_shown(page: Page, table: Path) -> None:
    page.goto("/datasets")
    page.locator("#file").set_input_files(table)
    expect(page.locator("#name")).to_have_value("my-fruit")

    page.locator("#send").click()

    page.wait_for_url("**/datasets/my-fruit?version=*")
    expect(page.locator("h1")).to_contain_text("ready")
    colour = page.locator("tr", has=page.get_by_role("rowheader", name="colour", exact=True))
    expect(colour.locator("td")).to_have_text(["categorical", "20", "red"])
    expect(page.get_by_role("row", name="size")).to_contain_text("0 to 5.9")
    expect(page.locator("#snippet")).to_contain_text("name: my-fruit, label_columns: kind")
    expect(page.get_by_role("link", name="Train on it")).to_have_attribute("href", "/jobs/new?dataset=my-fruit")
    assert not faults_for_everyone(page)


def test_a_file_is_dropped(page: Page) -> None:
    page.goto("/datasets")
    dropped = page.evaluate_handle(
        "(text) => { const all = new DataTransfer(); all.items.add(new File([text], 'dropped.csv')); return all; }", TABLE
    )

    page.locator("#drop").dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.locator("#name")).to_have_value("dropped")
    page.locator("#send").click()

    page.wait_for_url("**/datasets/dropped?version=*")


def test_an_upload_that_is_refused_says_why_in_the_services_words(page: Page, tmp_path: Path, wrong: list[str]) -> None:
    empty = tmp_path / "empty.csv"
    empty.touch()
    page.goto("/datasets")
    page.locator("#file").set_input_files(empty)

    page.locator("#send").click()

    expect(page.get_by_role("alert")).to_have_text("The upload has no bytes.")
    expected(wrong, "422")


def test_what_is_wrong_with_an_invalid_one_is_listed(page: Page, tmp_path: Path) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("a,b\n1,2\n3\n4,5,6\n")
    page.goto("/datasets")
    page.locator("#file").set_input_files(broken)

    page.locator("#send").click()

    expect(page.locator("h1")).to_contain_text("invalid")
    expect(page.locator(".notice.bad")).to_contain_text("Expected 2 columns")
    expect(page.get_by_role("link", name="Train on it")).to_have_count(0)
    page.goto("/datasets")
    expect(page.locator("#dataset-broken")).to_contain_text("Expected 2 columns")
    assert not faults_for_everyone(page)


def test_images_are_shown_with_their_classes_and_samples(page: Page, pictures: str) -> None:
    page.goto(f"/datasets/{pictures}")

    for kind, images in RIGHT.items():
        row = page.locator(".bars tr", has=page.get_by_role("rowheader", name=kind))
        expect(row.locator("td.num")).to_have_text(str(images))
    wide = page.locator(".bars rect").evaluate_all("(all) => all.map((each) => each.getBoundingClientRect().width)")
    assert wide[0] == pytest.approx(2 * wide[1], rel=0.01)
    page.locator(".contact").scroll_into_view_if_needed()
    page.wait_for_function("() => document.querySelector('.contact').naturalWidth > 0")
    assert not faults_for_everyone(page)


def test_one_that_a_job_needs_is_kept_and_then_removed(page: Page, client: Client, tmp_path: Path, wrong: list[str]) -> None:
    path = tmp_path / "needed.csv"
    path.write_text(TABLE)
    client.wait_dataset("needed", client.push("needed", path)["version"])
    spec: dict[str, Any] = {
        "name": "needs it",
        "dataset": {"type": "Upload", "name": "needed", "label_columns": "kind"},
        "model": {"type": "Sequential", "layers": [{"type": "Linear", "out_features": 2}]},
        "loss": "CrossEntropyLoss",
        "optimizer": "SGD",
        "epochs": 100_000,
    }
    job_id = client.submit(spec)["id"]
    page.goto("/datasets/needed")
    expect(page.get_by_role("table", name="Jobs that learn from it")).to_contain_text("needs it")

    page.get_by_role("button", name="Delete").click()
    page.locator("#sure-yes").click()
    expect(page.locator("#toasts")).to_contain_text(job_id)
    expected(wrong, "409")

    client.cancel(job_id)
    client.wait(job_id)
    page.get_by_role("button", name="Delete").click()
    page.locator("#sure-yes").click()
    page.wait_for_url("**/datasets")
    expect(page.locator("#dataset-needed")).to_have_count(0)
    assert "needed" not in {each["name"] for each in client.datasets()}
