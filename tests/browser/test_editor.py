"""The page of a new job, driven as a person does: written, checked, mended, explained, submitted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from service.api.examples import FOLDER
from service.client.sdk import Client
from service.spec.places import Places, inner
from service.spec.text import compose
from tests.browser.conftest import faults_for_everyone

EXAMPLES = {path.stem: path.read_text() for path in sorted(FOLDER.glob("*.yaml"))}
BROKEN = """\
# My first network
name: mended by hand
dataset: {type: Digits, limit: 300, validation_split: 0.1}
model:
  type: Sequential
  layers:
    - {type: Linear, in_features: 64, out_features: 32}  # hidden
    - Relu
    - {type: Linear, out_features: 10}
loss: CrossEntropyLoss
optimizer: {type: Adam, learning_rate: 0.002}
epochs: 2
"""
GOOD = (
    BROKEN.replace("Relu", "ReLU")
    .replace("learning_rate", "lr")
    .replace("    - {type: Linear, in", "    - Flatten\n    - {type: Linear, in")
)
LONG = GOOD.replace("    - ReLU\n", "    - {type: Linear, out_features: 32, bias: true}  # one of many\n    - ReLU\n" * 250)


def write(page: Page, text: str) -> None:
    """Another text in place of what is there."""
    page.locator("#text").fill(text)


def text_of(page: Page) -> str:
    """What is there."""
    return page.locator("#text").input_value()


def put_cursor(page: Page, before: str, *, after: int = 0) -> None:
    """Where a piece of the text begins, or so many characters later."""
    page.locator("#text").evaluate(
        "(area, [piece, after]) => { area.focus(); const at = area.value.indexOf(piece) + after; area.setSelectionRange(at, at); }",
        [before, after],
    )


def ready(page: Page) -> None:
    """The check has nothing against it."""
    expect(page.locator("#verdict")).to_have_text("Ready to train")


def test_a_broken_spec_is_mended_by_clicks_and_trained(page: Page, client: Client) -> None:
    """Each fault stands at its line; its button changes that place alone; the job's page is where one lands."""
    page.goto("/jobs/new")
    write(page, BROKEN)

    expect(page.locator("#verdict")).to_have_text("3 faults")
    expect(page.locator(".line.bad")).to_have_count(3)
    expect(page.locator(".line").nth(6).locator(".marked")).to_have_text("64")
    expect(page.locator(".line").nth(7)).to_have_class(re.compile("bad"))
    expect(page.locator(".line").nth(7).locator(".marked")).to_have_text("Relu")
    expect(page.locator(".line").nth(10).locator(".marked")).to_have_text("learning_rate")
    expect(page.locator("#marks li").nth(1)).to_contain_text("Line 8")
    page.get_by_role("button", name="Fix: change to ReLU").click()
    page.get_by_role("button", name="Fix: rename to lr").click()
    page.get_by_role("button", name="Fix: insert Flatten").first.click()
    ready(page)
    assert text_of(page) == GOOD
    expect(page.locator("#known")).to_contain_text("2,410")
    page.get_by_role("button", name="Train").click()

    page.wait_for_url(re.compile("/jobs/job_"))
    expect(page.locator("h1")).to_contain_text("mended by hand")
    job = client.get(page.url.rpartition("/")[2])
    assert job["spec"]["optimizer"] == {"type": "Adam", "lr": 0.002}


def test_all_fixes_are_made_by_one_click_and_taken_back_by_one_key(page: Page) -> None:
    """The browser's own history holds them."""
    page.goto("/jobs/new")
    write(page, BROKEN)
    page.get_by_role("button", name="Fix all").click()

    ready(page)
    assert text_of(page) == GOOD
    page.keyboard.press("Control+z")

    expect(page.locator("#verdict")).to_have_text("3 faults")
    assert text_of(page) == BROKEN


def test_a_remark_is_no_fault_and_has_a_fix_as_well(page: Page) -> None:
    """A Softmax before CrossEntropyLoss trains, and is better taken out."""
    page.goto("/jobs/new")
    write(page, GOOD.replace("loss:", "    - {type: Softmax, dim: 1}\nloss:"))

    expect(page.locator("#verdict")).to_have_text("Trains, with 1 remark")
    page.get_by_role("button", name="Fix: remove Softmax").click()

    ready(page)
    assert text_of(page) == GOOD


@pytest.mark.parametrize(
    ("text", "line", "words", "fix", "mended"),
    [
        (GOOD.replace("epochs: 2", "epochs:2"), 13, "could not find expected", "add the space", GOOD),
        (GOOD.replace("lr: 0.002}", "lr: 0.002"), 12, "expected ',' or '}'", "close with }", GOOD),
        (GOOD.replace("    - ReLU", "\t\t- ReLU"), 9, "cannot start any token", "indent with spaces", GOOD),
        (GOOD.replace("lr: 0.002", "lr:0.002"), 12, "is not known here", "add the space", GOOD),
    ],
)
def test_what_is_no_yaml_is_marked_where_it_is_wrong(page: Page, text: str, line: int, words: str, fix: str, mended: str) -> None:
    """With what beginners mean."""
    page.goto("/jobs/new")
    write(page, text)

    expect(page.locator("#marks li").first).to_contain_text(words)
    expect(page.locator("#marks li").first).to_contain_text(f"Line {line}")
    page.get_by_role("button", name=f"Fix: {fix}").click()

    ready(page)
    assert text_of(page) == mended


def test_a_copy_of_a_job_is_edited_and_trained(page: Page, client: Client) -> None:
    """From the job's page, by the button there."""
    body = {
        "dataset": {"type": "Digits", "limit": 200},
        "model": {"type": "Sequential", "layers": ["Flatten", {"type": "Linear", "out_features": 10}]},
    }
    first = client.submit({**body, "name": "first", "loss": "CrossEntropyLoss", "optimizer": {"type": "SGD", "lr": 0.01}, "epochs": 1})[
        "id"
    ]
    page.goto(f"/jobs/{first}")
    page.get_by_role("link", name="Clone and edit").click()
    expect(page.locator(".bar")).to_contain_text("A copy of first")

    write(page, text_of(page).replace("lr: 0.01", "lr: 0.5").replace("name: first", "name: second"))
    ready(page)
    page.get_by_role("button", name="Train").click()

    page.wait_for_url(re.compile(f"/jobs/(?!new|{first})"))
    second = client.get(page.url.rpartition("/")[2])
    assert (second["name"], second["spec"]["optimizer"]["lr"]) == ("second", 0.5)


def test_what_the_cursor_touches_is_explained(page: Page) -> None:
    """Type, range, default and help of a key; arguments and neighbours of what stands there."""
    page.goto("/jobs/new?example=digits-mlp")
    about = page.locator("#explanation")

    put_cursor(page, "lr:", after=1)
    expect(about).to_contain_text(re.compile(r"optimizer . lr"))
    expect(about).to_contain_text("Learning rate.")
    expect(about).to_contain_text("number, at least 0")
    expect(about).to_contain_text("0.001")
    put_cursor(page, "Adam", after=2)
    expect(about).to_contain_text("Adaptive moments")
    expect(about.locator("[data-argument=betas]")).to_contain_text("[0.9, 0.999]")
    expect(about.locator("[data-argument=lr]")).to_contain_text("written")
    expect(about.locator("[data-put=AdamW]")).to_be_visible()
    put_cursor(page, "ReLU", after=2)
    expect(about.locator("[data-put=GELU]")).to_be_visible()
    put_cursor(page, "batch_size", after=2)
    expect(about).to_contain_text("Samples of a training batch")


def test_a_click_in_the_explanation_writes(page: Page) -> None:
    """Another optimizer, and an argument with its default."""
    page.goto("/jobs/new?example=digits-mlp")
    put_cursor(page, "Adam", after=2)

    page.locator("[data-put=AdamW]").click()
    expect(page.locator("#explanation .thing b")).to_have_text("AdamW")
    page.locator("[data-add=weight_decay]").click()

    expect(page.locator("#text")).to_have_value(re.compile(r"optimizer: \{type: AdamW, lr: 0.002, weight_decay: 0.01\}"))
    ready(page)


def test_while_a_name_is_typed_the_close_ones_are_shown(page: Page) -> None:
    """In the middle of a line whose bracket is still open."""
    page.goto("/jobs/new?example=digits-mlp")
    put_cursor(page, "- ReLU", after=6)
    page.keyboard.press("Enter")
    page.keyboard.type("{type: MaxPo")

    page.locator("#explanation [data-put=MaxPool2d]").click()

    assert "    - ReLU\n    - {type: MaxPool2d\n    - {type: Dropout" in text_of(page)


def test_the_keyboard_alone_is_enough(page: Page) -> None:
    """Into the text, out of it by Esc and Tab, to the fix, and Ctrl+Enter."""
    page.goto("/jobs/new?example=digits-mlp")
    ready(page)
    page.locator("#submit").focus()
    page.keyboard.press("Tab")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(
        BROKEN.replace("    - {type: Linear, in_features", "    - Flatten\n    - {type: Linear, in_features").replace("learning_rate", "lr")
    )
    expect(page.locator("#verdict")).to_have_text("1 fault")

    page.keyboard.press("Control+End")
    page.keyboard.press("Tab")
    expect(page.locator("#text")).to_be_focused()
    assert text_of(page).endswith("epochs: 2\n  ")
    page.keyboard.press("Shift+Tab")
    assert text_of(page).endswith("epochs: 2\n")
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Line 9").first).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    ready(page)
    page.keyboard.press("Control+Enter")

    page.wait_for_url(re.compile("/jobs/job_"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("model:", "model:\n  "),
        ("  layers:  # all", "  layers:  # all\n    "),
        ("    - Flatten", "    - Flatten\n    - "),
        ("    - {type: Linear}", "    - {type: Linear}\n    - "),
        ("    - type: Linear", "    - type: Linear\n      "),
        ("      out_features: 3", "      out_features: 3\n      "),
        ("a: 1\n    - ", "a: 1\n"),
    ],
)
def test_enter_goes_on_where_the_next_line_belongs(page: Page, before: str, after: str) -> None:
    """Deeper after a colon, the next item in a list, and an empty item ends it."""
    page.goto("/jobs/new")
    write(page, before)
    page.keyboard.press("Control+End")

    page.keyboard.press("Enter")

    assert text_of(page) == after


def test_a_spec_with_faults_is_not_sent(page: Page, client: Client) -> None:
    """Whoever tries is taken to the first fault."""
    before = len(list(client.jobs()))
    page.goto("/jobs/new")
    write(page, BROKEN)
    page.keyboard.press("Control+Enter")

    expect(page.locator("#toasts")).to_contain_text("in the way")
    assert page.locator("#text").evaluate("(area) => area.value.slice(area.selectionStart, area.selectionEnd)") == "64"
    assert len(list(client.jobs())) == before


def test_a_draft_survives_a_reload_and_can_be_given_up(page: Page) -> None:
    """Each origin has its own."""
    page.goto("/jobs/new?example=digits-mlp")
    original = text_of(page)
    write(page, GOOD)
    page.reload()

    expect(page.locator("#drafted")).to_be_visible()
    assert text_of(page) == GOOD
    page.goto("/jobs/new?example=digits-cnn")
    expect(page.locator("#drafted")).to_be_hidden()
    page.goto("/jobs/new?example=digits-mlp")
    page.get_by_role("button", name="Start over").click()
    assert text_of(page) == original
    page.reload()
    expect(page.locator("#drafted")).to_be_hidden()


def test_an_answer_to_an_older_text_is_not_heard(page: Page) -> None:
    """However late it comes."""
    page.goto("/jobs/new")
    ready(page)
    held: list[Route] = []
    page.route("**/ui/check", lambda route: held.append(route) if "Relu" in (route.request.post_data or "") else route.continue_())
    with page.expect_request("**/ui/check"):
        write(page, BROKEN)

    write(page, GOOD)
    ready(page)
    held[0].continue_()
    put_cursor(page, "epochs")

    expect(page.locator("#explanation")).to_contain_text("Passes over the training samples")
    ready(page)


def test_an_example_is_chosen_from_all_of_them(page: Page) -> None:
    """Each with a line of what it shows."""
    page.goto("/jobs/new")
    page.get_by_role("button", name="Examples").click()
    card = page.locator("#gallery").get_by_role("link", name="digits-unet")
    expect(card).to_contain_text("A U-Net as a Graph")

    card.click()

    page.wait_for_url("**/jobs/new?example=digits-unet")
    assert text_of(page) == EXAMPLES["digits-unet"]
    ready(page)


def test_five_hundred_lines_are_typed_without_waiting(page: Page) -> None:
    """Colours and outline of a key's press take less than a frame or two; the check comes after."""
    page.goto("/jobs/new")
    write(page, LONG)
    assert len(LONG.splitlines()) > 500
    expect(page.locator(".line")).to_have_count(len(LONG.split("\n")))

    took = page.locator("#text").evaluate("""(area) => {
      const times = [];
      area.focus();
      const at = Math.floor(area.value.length / 2);
      area.setSelectionRange(at, at);
      for (let i = 0; i < 20; i += 1) {
        const began = performance.now();
        document.execCommand("insertText", false, "x");
        times.push(performance.now() - began);
      }
      return times.sort((left, right) => left - right)[10];
    }""")

    assert took < 50


def test_the_cursor_stays_in_sight(page: Page) -> None:
    """At the end of a long text, a page further up, and where a fault is visited."""
    page.goto("/jobs/new")
    write(page, LONG.replace("epochs: 2", "epochs: two"))
    put_cursor(page, "# My first")
    in_sight = """() => {
      const [area, frame] = [document.querySelector("#text"), document.querySelector("#code").getBoundingClientRect()];
      const line = area.value.slice(0, area.selectionEnd).split("\\n").length - 1;
      const box = document.querySelectorAll(".line")[line].getBoundingClientRect();
      return box.top >= frame.top - 1 && box.bottom <= frame.bottom + 1 ? line : -1;
    }"""

    page.keyboard.press("PageDown")
    page.keyboard.press("PageDown")
    second = page.evaluate(in_sight)
    assert 20 < second < 100
    page.keyboard.press("Control+End")
    page.keyboard.type("# end")
    assert page.evaluate(in_sight) > 500
    page.keyboard.press("PageUp")
    assert 400 < page.evaluate(in_sight) < 500
    put_cursor(page, "# My first")
    page.get_by_role("button", name=re.compile("^Line 5")).first.click()
    assert page.evaluate(in_sight) > 500


@pytest.mark.parametrize("width", [1280, 390])
def test_letters_and_their_colours_lie_on_each_other(page: Page, width: int) -> None:
    """Lines wrap at the same places in the text and below it."""
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/jobs/new")

    for name, text in EXAMPLES.items():
        write(page, text)
        heights = page.evaluate("""() => {
          const [paint, area] = [document.querySelector("#paint"), document.querySelector("#text")];
          area.style.height = paint.style.height = "0";
          const found = [paint.scrollHeight, area.scrollHeight];
          area.style.height = paint.style.height = "";
          return found;
        }""")
        assert heights[0] == heights[1], name


def test_the_outline_knows_the_key_of_every_character_that_the_server_knows(page: Page) -> None:
    """Of every example, and of a text with the styles of YAML that they have not."""
    page.goto("/jobs/new")
    odd = "a:\n- b: 1\n  \"c d\": [x, {e: 2}]\n-\n  - f: |\n      no: key\n    g: >-\n      - no\n\n- h: &i {j: 'k: l'}\n# m: n\no: [p: 1, q]\nr: {s: {t: [u,\n   v]}, w: *i}\n"
    modules = page.locator("script[src$='/editor.js']").get_attribute("src")
    assert modules

    for text in [*EXAMPLES.values(), odd]:
        known = dict(_keys(text))
        found = page.evaluate(
            """async ([address, text, places]) => {
              const yaml = await import(address);
              const found = yaml.outline(yaml.scan(text));
              return places.map((at) => { const token = yaml.touched(found, at, text); return token ? yaml.pointer(token.entry) : null; });
            }""",
            [modules.replace("/editor.js", "/editor/yaml.js"), text, list(known)],
        )
        assert dict(zip(known, found, strict=True)) == known


def _keys(text: str) -> Iterator[tuple[int, str]]:
    """Where every key and scalar item begins, with its pointer."""
    root = compose(text.encode())
    assert root is not None
    places = Places(text, root)
    waiting: list[tuple[Any, str]] = [(root, "")]
    while waiting:
        node, above = waiting.pop()
        for step in inner(node):
            pointer = f"{above}/{step.key.value if step.key is not None else step.at}"
            start = step.key.start_mark.index if step.key is not None else step.value.start_mark.index
            if step.key is not None or not isinstance(step.value.value, list):
                yield start, pointer
            if not places.is_alias(step):
                waiting.append((step.value, pointer))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_is_for_everyone(context: BrowserContext, scheme: Any, width: int) -> None:
    """In light and dark, on a desk and on a phone: nothing that axe-core finds serious, and nothing to scroll sideways."""
    page = context.new_page()
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    page.goto("/jobs/new")
    ready(page)
    assert not faults_for_everyone(page)

    write(page, BROKEN.replace("loss:", "    - {type: Softmax, dim: 1}\nloss:"))
    expect(page.locator("#verdict")).to_have_text("3 faults")
    put_cursor(page, "Adam", after=1)
    expect(page.locator("#explanation")).to_contain_text("Adaptive moments")

    assert not faults_for_everyone(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.get_by_role("button", name="Examples").click()
    assert not faults_for_everyone(page)


def test_what_is_not_there_is_said(page: Page) -> None:
    """No such job, no such example."""
    for address in ("/jobs/new?clone=job_000000000000000000000", "/jobs/new?example=none"):
        answer = page.request.get(address)

        assert answer.status == 404
        assert "Not Found" in answer.text() or "no example" in answer.text()
