"""`trainyard spec show|python|resolve|schema` and `trainyard catalog`: what a spec says, and what it can say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from service.client.cli.app import Panel, app, command, hint
from service.client.cli.files import changed, places, read_spec
from service.client.cli.printing import out, show_faults, show_json, show_table, show_warnings
from service.client.cli.session import connect, said
from service.client.errors import NotFound, Rejected
from service.client.words import duration, size
from service.spec import catalog as declared

group = typer.Typer(no_args_is_help=True, help="Look into a job spec: its layers, its program, its defaults, its schema.")
app.add_typer(group, name="spec", rich_help_panel=Panel.SPECS)

SpecFile = Annotated[Path, typer.Argument(help="A job spec, YAML or JSON; - reads stdin.", metavar="FILE", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a value; may be said again.", metavar="KEY=VALUE", show_default=False)]
GROUPS = ("layers", "losses", "optimizers", "schedulers", "transforms", "batch_transforms", "datasets", "metrics", "models")


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
    rows = [(row["path"], row["type"], "x".join(map(str, row["output_shape"])) or "scalar", f"{row['num_parameters']:,}") for row in verdict["layers"]]
    show_table(("path", "layer", "output", "parameters"), rows, right=["parameters"])
    if verdict["num_parameters"] is None:
        out.print("sizes not checked: there is no torch beside the service")
        return
    total = f"{verdict['num_parameters']:,} parameters"
    memory, flops, estimate = verdict.get("memory_bytes"), verdict.get("flops_per_sample"), verdict.get("estimate")
    total += f", {size(memory['total'])} in a training step" if memory else ""
    total += f", {_count(flops)} operations a sample" if flops else ""
    total += f", {duration(estimate['seconds_per_epoch'])} an epoch" if estimate and estimate["seconds_per_epoch"] else ""
    out.print(total)


def _count(number: float) -> str:
    for unit in ("", " thousand", " million", " billion"):
        if number < 999.5 or unit == " billion":
            return f"{number:.3g}{unit}"
        number /= 1000
    raise AssertionError("a billion is the last")


@command(app, "trainyard catalog", "trainyard catalog Conv2d", "trainyard catalog lr", panel=Panel.SPECS, shared=("quiet", "as_json"))
def catalog(
    name: Annotated[str | None, typer.Argument(help="A name, or a part of one.", show_default=False)] = None,
) -> None:
    """What a spec can declare: all names; with one of them, its arguments, types and defaults; with a part, all that match."""
    known = declared.load()
    found = {(kind, each): entry for kind in GROUPS for each, entry in known[kind].items() if name is None or name.lower() in each.lower()}
    exact = {place: entry for place, entry in found.items() if name and place[1].lower() == name.lower()}
    if not found:
        close = declared.suggest(name or "", sorted(each for kind in GROUPS for each in known[kind]))
        raise NotFound(f"Nothing that a spec can declare is called {name}. " + (f"Did you mean {close}? " if close else "") + "All: trainyard catalog")
    if said.as_json:
        show_json([{"group": kind, "name": each, **entry} for (kind, each), entry in (exact or found).items()])
    elif exact:
        for (kind, each), entry in exact.items():
            _show_entry(kind, each, entry)
    elif name is None:
        for kind in GROUPS:
            out.print(kind.replace("_", " "), style="bold")
            out.print(f"  {', '.join(known[kind])}")
        hint("One of them with its arguments: trainyard catalog NAME")
    else:
        show_table(("name", "group", "what"), [(each, kind, entry.get("help", "")) for (kind, each), entry in found.items()], give=["what"])
        hint("One of them with its arguments: trainyard catalog NAME")


def _show_entry(kind: str, name: str, entry: Mapping[str, Any]) -> None:
    out.print(f"{name} ({kind.replace('_', ' ')}): {entry.get('help', '')}".rstrip(": "))
    rows = [(each, _type(says), _default(says), says.get("help", "")) for each, says in entry.get("args", {}).items()]
    if rows:
        show_table(("argument", "type", "default", "what"), rows, give=["what"])
    for word in ("weights", "facts"):
        if entry.get(word):
            out.print(f"{word}: {', '.join(_fact(key, value) for key, value in entry[word].items())}")


def _fact(key: str, value: Any) -> str:
    return key if isinstance(value, str) else f"{key.replace('_', ' ')} {'x'.join(map(str, value)) if isinstance(value, list) else value}"


def _type(says: Mapping[str, Any]) -> str:
    words = list(_words(says))
    return " or ".join(words)


def _words(says: Mapping[str, Any]) -> Iterator[str]:
    least, most = says.get("minimum"), says.get("maximum")
    bounds = f" >= {least}" if least is not None and most is None else f" {least} to {most}" if least is not None else f" <= {most}" if most is not None else ""
    yield "|".join(map(str, says["choices"])) if says["type"] == "choice" else f"{says['type']}{bounds}"
    if says.get("many"):
        yield "a list"
    yield from says.get("words", ())
    if says.get("nullable"):
        yield "null"


def _default(says: Mapping[str, Any]) -> str:
    if says.get("infer"):
        return "inferred"
    if "default" not in says:
        return "required"
    return "null" if says["default"] is None else str(says["default"]).lower() if isinstance(says["default"], bool) else str(says["default"])
