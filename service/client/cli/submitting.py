"""`trainyard init`, `examples`, `submit`, `validate`, `evaluate`: from a file to a job."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.client.cli.app import JobId, Panel, app, command, hint
from service.client.cli.completing import dataset_names, example_names
from service.client.cli.files import STDIN, changed, places, read_spec
from service.client.cli.following import ENDS, followed
from service.client.cli.printing import err, out, show_faults, show_json, show_table, show_text, show_warnings, summary
from service.client.cli.session import connect, said
from service.client.cli.spec import show_layers
from service.client.errors import NotFound, Rejected
from service.client.evaluating import evaluation_of
from service.spec import EXAMPLES
from service.spec.catalog import suggest
from service.spec.text import parse_body

SpecFile = Annotated[Path, typer.Argument(help="A job spec, YAML or JSON; - reads stdin.", metavar="FILE", show_default=False)]
Set = Annotated[list[str] | None, typer.Option("--set", help="Change a value; may be said again.", metavar="KEY=VALUE", show_default=False)]
Name = Annotated[str | None, typer.Option("--name", help="The job's name.", show_default=False)]
Label = Annotated[list[str] | None, typer.Option("--label", help="A label; may be said again.", metavar="KEY=VALUE", show_default=False)]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Watch until it has ended.")]
SCHEMA = "job.schema.json"


@command(
    app, "trainyard init", "trainyard init mnist-cnn -o cnn.yaml", "trainyard init --list", panel=Panel.SPECS, shared=("quiet", "as_json")
)
def init(
    example: Annotated[str, typer.Argument(help="The example to start from.", autocompletion=example_names)] = "digits-mlp",
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write.")] = Path("job.yaml"),
    list_them: Annotated[bool, typer.Option("--list", help="Only list the examples.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite what is there.")] = False,
) -> None:
    """Write a job spec from an example, and beside it the schema by which editors check and complete it."""
    if list_them:
        list_examples()
        return
    text, schema = _example(example), output.with_name(SCHEMA)
    for path in (output, schema):
        if path.exists() and not force and not (path == schema and _is_ours(path)):
            err.print(f"trainyard: {path} is there already. Another name: -o FILE. Overwrite it: --force")
            raise typer.Exit(2)
    from service.spec.job import JobSpec

    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(f"# yaml-language-server: $schema=./{SCHEMA}\n{text}")
    schema.write_text(json.dumps(JobSpec.model_json_schema()) + "\n")
    if said.as_json:
        show_json({"spec": str(output), "schema": str(schema), "example": example})
    else:
        print(output)
    hint(
        ("Train it here", f"trainyard run {output}"),
        ("Train it there", f"trainyard submit {output} --follow"),
        ("What can be said", f"trainyard catalog, and {schema} in your editor"),
    )


def _is_ours(path: Path) -> bool:
    try:
        return bool(json.loads(path.read_text()).get("title") == "JobSpec")
    except (ValueError, AttributeError):
        return False


@command(app, "trainyard examples", "trainyard examples mnist-cnn > job.yaml", panel=Panel.SPECS, shared=("quiet", "as_json"))
def examples(
    name: Annotated[str | None, typer.Argument(help="Print this one.", show_default=False, autocompletion=example_names)] = None,
) -> None:
    """The specs that come with Trainyard, one line each; or one of them."""
    if name is None:
        list_examples()
    elif said.as_json:
        show_json(parse_body(_example(name).encode(), "application/yaml"))
    else:
        print(_example(name), end="")


def list_examples() -> None:
    """Each with its line."""
    found = [{"name": path.stem, "about": _about(path.read_text())} for path in sorted(EXAMPLES.glob("*.yaml"))]
    if said.as_json:
        show_json(found)
        return
    show_table(("example", "what it shows"), [(each["name"], each["about"]) for each in found], give=["what it shows"], wrap=True)
    hint(("Start from one", "trainyard init NAME"))


def _example(name: str) -> str:
    """The text of an example. Raises NotFound, with a close one."""
    known = {path.stem: path for path in EXAMPLES.glob("*.yaml")}
    if name not in known:
        close = suggest(name, sorted(known))
        raise NotFound(f"There is no example {name}. " + (f"Did you mean {close}? " if close else "") + "All: trainyard init --list")
    return known[name].read_text()


def _about(text: str) -> str:
    """The comment at its top, or what is trained on what."""
    comment = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.lstrip("# "))
    if comment:
        return " ".join(comment)
    spec = parse_body(text.encode(), "application/yaml")
    model, dataset = spec["model"], spec["dataset"]
    layers = [each if isinstance(each, str) else each["type"] for each in model.get("layers", [])]
    telling = [each for each in dict.fromkeys(layers) if each not in ("Flatten", "ReLU", "Linear")]
    return f"{dataset if isinstance(dataset, str) else dataset['type']}: {', '.join(telling) or 'linear layers'}."


@command(
    app,
    "trainyard submit job.yaml --follow",
    "trainyard submit job.yaml --set optimizer.lr=0.01 --set epochs=3",
    "trainyard submit job.yaml --name quick --label try=1",
    "trainyard examples digits-cnn | trainyard submit -",
    panel=Panel.WATCH,
)
def submit(file: SpecFile, follow: Follow = False, set: Set = None, name: Name = None, label: Label = None) -> None:
    """Check a job spec and queue it; prints the job's id."""
    spec = told(file, set, name, label)
    with connect() as client:
        try:
            job = client.submit(spec)
        except Rejected as error:
            raise located(error, file) from error
        if not said.quiet:
            show_warnings(job["warnings"])
        if not follow:
            show_json(job) if said.as_json else print(job["id"])
            hint(("Watch it", f"trainyard watch {job['id']}"), ("Its page", f"trainyard open {job['id']}"))
            return
        ended = followed(client, job["id"])
    show_json(ended) if said.as_json else show_text(summary(ended))
    if ended["state"] == "succeeded":
        hint(("Take it home", f"trainyard download {job['id']}"))
    raise typer.Exit(ENDS[ended["state"]])


def told(file: Path, changes: Sequence[str] | None, name: str | None, labels: Sequence[str] | None) -> dict[str, Any]:
    """The spec of a file with what the options change in it. Raises SpecFaults, typer.BadParameter."""
    spec = changed(read_spec(file), changes or ()) | ({"name": name} if name else {})
    for label in labels or ():
        key, equals, value = label.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{label!r} has no '='; write for example course=intro", param_hint="--label")
        spec["labels"] = {**(spec.get("labels") or {}), key: value}
    return spec


class Located(Rejected):
    """A refusal that knows where in a file each fault lies."""

    def __init__(self, error: Rejected, places: Mapping[str, str]) -> None:
        super().__init__(str(error), error.problem)
        self.places = places


def located(error: Rejected, file: Path) -> Located:
    """The same refusal, with the file's lines."""
    return Located(error, places(file))


@command(app, "trainyard validate job.yaml", "trainyard validate job.yaml --set optimizer.lr=0.01 --json", panel=Panel.SPECS)
def validate(file: SpecFile, set: Set = None) -> None:
    """Check a job spec without queueing it: every fault with its line, or the layer table."""
    with connect() as client:
        verdict = client.validate(told(file, set, None, None))
    if said.as_json:
        show_json(verdict)
    elif verdict["valid"]:
        show_layers(verdict)
    if not said.quiet:
        show_warnings(verdict["warnings"])
    if not verdict["valid"]:
        show_faults(verdict["errors"], places(file))
        raise typer.Exit(Rejected.exit_code)
    hint(("Queue it", f"trainyard submit {file}") if file != STDIN else "It can be queued.")


@command(
    app, "trainyard evaluate job_019... later --follow", "trainyard evaluate job_019... photos --share 0.1 --json", panel=Panel.RESULTS
)
def evaluate(
    job_id: JobId,
    dataset: Annotated[
        str, typer.Argument(help="The uploaded data set's name.", metavar="DATASET", show_default=False, autocompletion=dataset_names)
    ],
    version: Annotated[str | None, typer.Option(help="Its SHA-256, or at least eight digits of it.", show_default=False)] = None,
    share: Annotated[float, typer.Option(min=0, max=1, help="Of data without a test split: how much of it is looked at.")] = 1.0,
    follow: Follow = False,
) -> None:
    """Queue a job that trains nothing: a trained model on another data set, with every prediction as a row of a table."""
    with connect() as client:
        job: Mapping[str, Any] = client.submit(evaluation_of(client.get(job_id), dataset, version=version, share=share))
        if follow:
            job = followed(client, job["id"])
    show_json(job) if said.as_json else out.print(summary(job) if follow else job["id"])
    if follow:
        raise typer.Exit(ENDS[job["state"]])
    hint(("Watch it", f"trainyard watch {job['id']}"))
