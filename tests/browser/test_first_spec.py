"""From somebody's own data to a job that trains on them, without a word written by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect
from sklearn.datasets import load_diabetes, load_digits, load_wine

from service.client import Client


def images(folder: Path) -> Path:
    """Digits in a folder for each class."""
    digits = load_digits()
    for at, (image, label) in enumerate(zip(digits.images[:200], digits.target[:200], strict=True)):
        place = folder / f"class {label}"
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image * 15.9375).astype(np.uint8)).save(place / f"{at}.png")
    return folder


def arrays(folder: Path) -> Path:
    """Digits as rows of numbers."""
    digits = load_digits()
    np.savez(folder / "x.npz", x=digits.data[:200].astype(np.float32), y=digits.target[:200])
    return folder / "x.npz"


def classes(folder: Path) -> Path:
    """A table whose last column is a class."""
    load_wine(as_frame=True).frame.to_csv(folder / "wine.csv", index=False)
    return folder / "wine.csv"


def numbers(folder: Path) -> Path:
    """A table whose last column is a number, with a name that YAML would read otherwise."""
    load_diabetes(as_frame=True).frame.rename(columns={"target": "how far: it's"}).to_csv(folder / "diabetes.csv", index=False)
    return folder / "diabetes.csv"


@pytest.mark.parametrize("made", [images, arrays, classes, numbers], ids=lambda made: made.__name__)
def test_the_first_spec_for_a_data_set_trains_as_it_stands(
    page: Page, client: Client, tmp_path: Path, made: Callable[[Path], Path]
) -> None:
    name = f"first-{made.__name__}"
    dataset = client.push(name, made(tmp_path))
    assert client.wait_dataset(name, dataset["version"])["state"] == "ready"

    page.goto(f"/datasets/{name}")
    page.get_by_role("link", name="Train on it").click()
    expect(page.locator("#verdict")).to_contain_text("Ready to train")
    page.locator("#submit").click()

    expect(page.locator("#head h1")).to_contain_text("succeeded", timeout=60_000)
