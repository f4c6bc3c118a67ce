"""What must stay true of the house itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from service.api.examples import examples
from service.spec.text import parse_body

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("module", ["service.main", "service.client.cli", "worker.main", "worker.zygote", "worker.alone"])
def test_no_process_but_the_trainers_loads_torch(module: str):
    """API, command, worker and the zygote's client side start without it."""
    code = f"import {module}, sys; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=ROOT).returncode == 0


def test_the_readme_posts_a_spec_that_reads():
    """The curl on the first screen is a valid body."""
    from service.spec.job import read_spec

    body = re.search(r"-d '(\{.*?\n\})'", README, re.DOTALL)

    assert body is not None
    assert read_spec(parse_body(body.group(1).encode())).epochs == 5


def test_the_readme_names_commands_and_examples_that_exist():
    """Every `trainyard VERB` is a command, every example file is there, every make verb is in the help."""
    listing = subprocess.run([Path(sys.executable).with_name("trainyard"), "--help"], check=True, capture_output=True, text=True).stdout
    verbs = subprocess.run(["make", "help"], check=True, capture_output=True, text=True, cwd=ROOT).stdout

    for verb in set(re.findall(r"^trainyard (\w+)", README, re.MULTILINE)):
        assert re.search(rf"\b{verb}\b", listing), verb
    for name in re.findall(r"examples/([\w-]+)\.yaml", README):
        assert name in examples()
    for verb in set(re.findall(r"`?make ([a-z-]+)", README)):
        assert re.search(rf"^  {verb}\b", verbs, re.MULTILINE), verb
