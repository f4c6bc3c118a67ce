"""The benchmarks as one table: `python -m tests.bench [ARM ...] [--json FILE]`. Ends non-zero where a floor is not kept or the run is void."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.harness import Result, told

ARMS = {
    "AA": "tests.bench.arms.same:measure",
    "7": "tests.bench.arms.queueing:measure",
    "8": "tests.bench.arms.service:measure",
    "10": "tests.bench.arms.growth:measure",
}
"""Each arm's name, and the function that measures it: () -> list[Result]."""


def main() -> int:
    """Measure, print, and say whether every floor was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("arms", nargs="*", metavar="ARM", help=f"which of {', '.join(ARMS)}; all of them where none is named")
    parser.add_argument("--json", type=Path, help="write the results there as well")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.arms if name not in ARMS]
    if unknown:
        parser.error(f"no arm is called {', '.join(unknown)}; there are {', '.join(ARMS)}")
    results: list[Result] = []
    for name in arguments.arms or ARMS:
        told(f"arm {name}")
        results += _measure(ARMS[name])()
    about = machine()
    print(table(results, about))
    if arguments.json:
        arguments.json.write_text(json.dumps({"machine": about, "results": [each.as_json() for each in results]}, indent=2) + "\n")
    return 0 if all(each.verdict != "below" for each in results) else 1


def _measure(place: str) -> Callable[[], list[Result]]:
    module, _, name = place.partition(":")
    found: Callable[[], list[Result]] = getattr(import_module(module), name)
    return found


def machine() -> dict[str, Any]:
    """What the figures depend on, and how much of the machine others took meanwhile."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    flags = next(line for line in lines if line.startswith("flags")).split()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
    return {
        "cpu": next(line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        "cores": os.cpu_count(),
        "instructions": [flag for flag in wanted if flag in flags],
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "torchvision", "celery", "fastapi")},
        "date": datetime.now(UTC).date().isoformat(),
    }


def table(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Markdown, so that it can stand in the README as it is."""
    head = ["arm", "what", "measured", "quartiles", "target", "floor", "reached"]
    rows = [head, ["---"] * len(head), *([*_cells(each)] for each in results)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return (
        f"{lines}\n\n{about['cpu']}, {about['cores']} cores ({', '.join(about['instructions'])}), torch {about['torch']}, {about['date']}"
    )


def _cells(result: Result) -> Iterable[str]:
    sign = ">=" if result.better == "higher" else "<="

    def limit(value: float | None) -> str:
        return "" if value is None else f"{sign} {value:.6g} {result.unit}".replace(" x", "")

    yield result.arm
    yield result.what
    yield f"**{result.value:.4g}** {result.unit}".replace(" x", "")
    yield f"{result.low:.4g} - {result.high:.4g}"
    yield limit(result.target)
    yield limit(result.floor)
    yield {"target": "target", "floor": "floor", "below": "**below**", "-": ""}[result.verdict]


if __name__ == "__main__":
    sys.exit(main())
