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
    "1": "tests.bench.arms.training:textbook",
    "2": "tests.bench.arms.training:by_hand",
    "3": "tests.bench.arms.frameworks:measure",
    "4": "tests.bench.arms.precision:measure",
    "5": "tests.bench.arms.accuracy:measure",
    "6": "tests.bench.arms.starting:first_step",
    "7": "tests.bench.arms.queueing:measure",
    "8": "tests.bench.arms.service:measure",
    "9": "tests.bench.arms.checkpoints:measure",
    "10": "tests.bench.arms.growth:measure",
    "11": "tests.bench.arms.starting:known_data",
    "12": "tests.bench.arms.sharing:measure",
}
"""Each arm's name, and the function that measures it: () -> list[Result]."""


BEGIN, END = "<!-- benchmarks -->", "<!-- end of benchmarks -->"


def main() -> int:
    """Measure, print, and say whether every floor was kept."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("arms", nargs="*", metavar="ARM", help=f"which of {', '.join(ARMS)}; all of them where none is named")
    parser.add_argument("--json", type=Path, help="keep the results there; those of arms that are not named stay")
    parser.add_argument("--readme", type=Path, help="put the table of all that is kept into this page")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.arms if name not in ARMS]
    if unknown:
        parser.error(f"no arm is called {', '.join(unknown)}; there are {', '.join(ARMS)}")
    results: list[Result] = []
    about, ticks = machine(), _ticks()
    for name in arguments.arms or ARMS:
        told(f"arm {name}")
        results += _measure(ARMS[name])()
        about |= {"stolen": round(_stolen(ticks, _ticks()), 4)}
        if arguments.json:
            keep(results, about, file=arguments.json, page=arguments.readme)
    print(table(results, about))
    return 0 if all(each.verdict != "below" for each in results) else 1


def keep(results: Sequence[Result], about: dict[str, Any], *, file: Path, page: Path | None) -> None:
    """Put results into the file, beside those of arms that were not measured this time; and the table of all into the page."""
    measured = {each.arm for each in results}
    kept = [each for each in read(file)[0] if each.arm not in measured] if file.exists() else []
    rows = sorted([*results, *kept], key=lambda each: list(ARMS).index(each.arm))
    file.write_text(json.dumps({"machine": about, "results": [each.as_json() for each in rows]}, indent=2) + "\n")
    if page is not None:
        text = with_table(page.read_text(), table(rows, about))
        page.write_text(text)


def read(file: Path) -> tuple[list[Result], dict[str, Any]]:
    """The results that are kept in a file, and of which machine."""
    kept = json.loads(file.read_text())
    return [Result(**{name: value for name, value in row.items() if name != "verdict"}) for row in kept["results"]], kept["machine"]


def with_table(page: str, rows: str) -> str:
    """The page with the table between its marks."""
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n{rows}\n{END}{rest.split(END)[1]}"


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


def _ticks() -> list[int]:
    """What the machine's processors did since it started, by kind (proc(5)); the eighth is time that the hypervisor gave to others."""
    return [int(each) for each in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]


def _stolen(before: list[int], after: list[int]) -> float:
    spent = [now - then for then, now in zip(before, after, strict=True)]
    return spent[7] / max(1, sum(spent))


def table(results: Sequence[Result], about: dict[str, Any]) -> str:
    """Markdown, so that it can stand in the README as it is."""
    head = ["arm", "what", "measured", "quartiles", "target", "floor", "reached"]
    rows = [head, ["---"] * len(head), *([*_cells(each)] for each in results)]
    lines = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    return f"{lines}\n\n{about['cpu']}, {about['cores']} cores ({', '.join(about['instructions'])}), torch {about['torch']}, {about['date']}, {about.get('stolen', 0):.1%} of its time taken by others"


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
