"""The fix of a fault, made in the text as a click in the editor makes it, makes the fault go away."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from ruamel.yaml import YAML

from service.api.examples import examples
from service.spec.edits import edit_of
from service.spec.fixes import fixed
from service.spec.places import Places
from service.spec.text import compose, plain, values
from service.spec.verdict import Fault, SpecWarning
from tests.checking import checked
from tests.corpus.broken import BROKEN
from tests.unit.training.test_broken_specs import BASE

STYLES = {"block": False, "mixed": None, "flow": True}


def texts(body: dict[str, Any]) -> list[str]:
    """The body as people and programs write it."""
    found = [json.dumps(body, indent=2)]
    for style in STYLES.values():
        yaml = YAML()
        yaml.default_flow_style = style
        yaml.indent(mapping=2, sequence=4, offset=2)
        out = io.StringIO()
        yaml.dump(body, out)
        found.append(out.getvalue())
    return found


def told(found: Fault | SpecWarning) -> tuple[str, str, str]:
    """What makes it that one."""
    return found.pointer, found.code, found.detail


def goes_away(body: dict[str, Any], found: Fault | SpecWarning) -> None:
    """In the values, and in every text that says them."""
    assert found.fix
    mended = fixed(body, found.fix)
    verdict = checked(mended)
    assert told(found) not in [told(each) for each in (*verdict.errors, *verdict.warnings)], mended
    for text in texts(body):
        root = compose(text.encode())
        assert root is not None
        edit = edit_of(found.fix, Places(text, root))
        assert edit is not None, text
        assert plain(values(compose(edit.of(text).encode()))) == mended


@pytest.mark.filterwarnings("ignore:The transform `ToTensor")
@pytest.mark.parametrize("changes", [changes for changes, _, _ in BROKEN], ids=[json.dumps(changes)[:80] for changes, _, _ in BROKEN])
def test_every_fix_of_a_broken_spec_mends_its_fault(changes: dict[str, Any]) -> None:
    """Of the whole corpus, in every style of text."""
    body = BASE | changes

    for fault in checked(body).errors:
        if fault.fix:
            goes_away(body, fault)


def test_many_broken_specs_have_a_fix() -> None:
    """Who clicks gets on."""
    have = [any(fault.fix for fault in checked(BASE | changes).errors) for changes, _, _ in BROKEN]

    assert sum(have) > 0.4 * len(have), [changes for (changes, _, _), has in zip(BROKEN, have, strict=True) if not has]


DIGITS = examples()["digits-mlp"]
LAYERS = DIGITS["model"]["layers"]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"model": {"type": "Sequential", "layers": [*LAYERS, {"type": "Softmax", "dim": 1}]}}, "softmax_before_cross_entropy"),
        ({"loss": "NLLLoss"}, "nll_without_log_softmax"),
        ({"model": {"type": "Sequential", "layers": [*LAYERS, "ReLU"]}}, "activation_last"),
        ({"dataset": {"type": "Digits", "limit": 40}, "dataloader": {"batch_size": 64}}, "batch_larger_than_dataset"),
        ({"checkpoint": {"monitor": "val_loss", "mode": "max"}}, "worst_is_best"),
        ({"loss": "SoftMarginLoss", "dataset": {"type": "Digits", "target": "one_hot"}}, "unusual_target"),
    ],
)
def test_every_fix_of_a_lint_mends_it(changes: dict[str, Any], code: str) -> None:
    """A spec that trains, and then trains as meant."""
    body = DIGITS | changes
    (warning,) = [each for each in checked(body).warnings if each.code == code]

    goes_away(body, warning)


@pytest.mark.parametrize("missing", ["dataset", "model", "loss", "optimizer", "epochs"])
def test_a_missing_key_is_written(missing: str) -> None:
    """With what textbooks write there."""
    body = {name: value for name, value in DIGITS.items() if name != missing}
    (fault,) = [each for each in checked(body).errors if each.code == "missing"]

    goes_away(body, fault)


def test_clicking_every_fix_of_a_beginners_spec_leads_to_one_that_trains() -> None:
    """Nothing flattened, one output too few, a wrong name, a Softmax too many."""
    body: dict[str, Any] = {
        "dataset": "Digits",
        "model": {
            "type": "Sequential",
            "layers": [{"type": "Linear", "in_features": 64, "out_feature": 128}, "Relu", {"type": "Linear", "out_features": 9}, "Softmax"],
        },
        "loss": "CrossEntropy",
        "optimizer": {"type": "adam", "learning_rate": "0.01"},
        "epoch": 3,
    }

    for _ in range(20):
        verdict = checked(body)
        fix = next((each.fix for each in (*verdict.errors, *verdict.warnings) if each.fix), None)
        if fix is None:
            break
        body = fixed(body, fix)

    assert checked(body).valid, checked(body)
    assert body["optimizer"] == {"type": "Adam", "lr": 0.01}
    assert [layer if isinstance(layer, str) else layer["type"] for layer in body["model"]["layers"]] == [
        "Flatten",
        "Linear",
        "ReLU",
        "Linear",
    ]
