"""`trainyard spec show|python|resolve|schema`: what a spec says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service.client.cli.app import Group, Panel, app, command
from service.client.cli.files import changed, places, read_spec
from service.client.cli.printing import out, paragraph, show_faults, show_json, show_table, show_warnings
from service.client.cli.session import connect, said
from service.client.errors import Rejected
from service.client.words import duration, size

group = typer.Typer(cls=Group, no_args_is_help=True, help="Look into a job spec: its layers, its program, its defaults, its schema.")
app.add_typer(group, name="spec", rich_help_panel=Panel.SPECS)

SpecFile = Annotated[Path, typer.Argument(help="A job spec, YAML or JSON; - reads stdin.", metavar="FILE", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a value; may be said again.", metavar="KEY=VALUE", show_default=False)]


@command(group, "trainyard spec show job.yaml", "trainyard spec show job.yaml --set model.layers.1.out_features=64")
def show(file: SpecFile, set: Set = None) -> None:
    """The layer table: shapes, parameters, memory, operations, and the time of an epoch where it is known."""
    verdict = _verdict(file, set)
    if said.as_json:
        names = ("layers", "num_parameters", "flops_per_sample", "memory_bytes", "estimate")
        show_json({name: verdict[name] for name in names})
    else:
        show_layers(verdict)


@command(group, "trainyard spec python job.yaml > train.py")
def python(file: SpecFile, set: Set = None) -> None:
    """The textbook's PyTorch program that trains the same weights."""
    with connect() as client:
        try:
            program = client.script(changed(read_spec(file), set or ()))
        except Rejected as error:
            _refuse(error.faults, file)
    if said.as_json:
        show_json({"program": program})
    else:
        print(program, end="")


@command(group, "trainyard spec resolve job.yaml --json > resolved.json")
def resolve(file: SpecFile, set: Set = None) -> None:
    """The spec with every default and size filled in, as YAML."""
    resolved = _verdict(file, set)["resolved_spec"]
    if resolved is None:
        raise Rejected("The service has no torch beside it, so that it cannot fill in sizes.")
    if said.as_json:
        show_json(resolved)
        return
    import io

    from ruamel.yaml import YAML

    text, yaml = io.StringIO(), YAML()
    yaml.dump(resolved, text)
    print(text.getvalue(), end="")


@command(group, "trainyard spec schema > job.schema.json", shared=("quiet", "as_json"))
def schema() -> None:
    """The JSON Schema of a job spec, by which editors check and complete it."""
    from service.spec.job import JobSpec

    show_json(JobSpec.model_json_schema())


def _verdict(file: Path, changes: list[str] | None) -> Mapping[str, Any]:
    """What the service finds in a good spec. Exits 3 with every fault of another."""
    with connect() as client:
        verdict = client.validate(changed(read_spec(file), changes or ()))
    if not said.quiet:
        show_warnings(verdict["warnings"])
    if not verdict["valid"]:
        _refuse(verdict["errors"], file)
    return verdict


def _refuse(faults: Any, file: Path) -> Any:
    show_faults(faults, places(file))
    raise typer.Exit(Rejected.exit_code)


def show_layers(verdict: Mapping[str, Any]) -> None:
    """The layer table of a verdict, and what it all comes to."""
    rows = [
        (row["path"], row["type"], "x".join(map(str, row["output_shape"])) or "scalar", f"{row['num_parameters']:,}")
        for row in verdict["layers"]
    ]
    show_table(("path", "layer", "output", "parameters"), rows, right=["parameters"])
    if verdict["num_parameters"] is None:
        out.print("sizes not checked: there is no torch beside the service")
        return
    total = f"{verdict['num_parameters']:,} parameters"
    memory, flops, estimate = verdict.get("memory_bytes"), verdict.get("flops_per_sample"), verdict.get("estimate")
    total += f", {size(memory['total'])} in a training step" if memory else ""
    total += f", {_count(flops)} operations a sample" if flops else ""
    total += f", {duration(estimate['seconds_per_epoch'])} an epoch" if estimate and estimate["seconds_per_epoch"] else ""
    paragraph(total)


def _count(number: float) -> str:
    for unit in ("", " thousand", " million", " billion"):
        if number < 999.5 or unit == " billion":
            return f"{number:.3g}{unit}"
        number /= 1000
    raise AssertionError("a billion is the last")
