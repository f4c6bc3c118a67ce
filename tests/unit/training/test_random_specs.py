"""The check against torch itself, over specs that nobody wrote."""

from __future__ import annotations

import json
import os
import random

import pytest
import torch

from tests.checking import checked
from tests.corpus.oracle import trains
from tests.corpus.random_specs import random_spec

SEED = int(os.environ.get("TRAINYARD_FUZZ_SEED", "20261124"))
SPECS = int(os.environ.get("TRAINYARD_FUZZ_SPECS", "2000" if os.environ.get("TRAINYARD_LONG_TESTS") == "1" else "600"))
PARTS = 4


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_random_specs_are_accepted_exactly_when_they_train(part: int):
    """A real CPU step on the first batch and on the last, and an evaluation batch, decide; specs whose loss is no number may go either way."""
    torch.set_num_threads(1)
    print(f"TRAINYARD_FUZZ_SEED={SEED}, part {part}")
    rng = random.Random(SEED + part)
    accepted, wrong = 0, []

    for _ in range(SPECS // PARTS):
        body = random_spec(rng)
        why = trains(body)
        verdict = checked(body)
        accepted += verdict.valid
        if verdict.valid != (why is None) and not (why or "").startswith("ArithmeticError"):
            wrong.append((json.dumps(body), why, [fault.detail for fault in verdict.errors]))

    assert wrong == []
    assert SPECS // PARTS * 0.2 < accepted < SPECS // PARTS * 0.8
