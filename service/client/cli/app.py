"""The `trainyard` program: its groups of commands, and what every command has: --json, -q, --url, --api-key, and examples in its help."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from enum import StrEnum
from importlib.metadata import version
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperCommand, TyperGroup, TyperOption

from service.client.cli.completing import job_ids
from service.client.cli.printing import err
from service.client.cli.session import said


class Panel(StrEnum):
    """The groups of commands in the help, in their order."""

    HERE = "On this machine"
    SPECS = "Job specs"
    WATCH = "Submit and watch"
    ACT = "Steer"
    RESULTS = "Results"
    SERVICE = "Data and service"


_PANELS = list(Panel)
_KINDS = {"<int>": "N", "<float>": "N", "<path>": "PATH"}


def _plainly(params: list[Any], ctx: Any) -> list[Any]:
    """The same options with short words for what they take; a flag takes nothing."""
    for param in params:
        if isinstance(param, TyperOption) and param.metavar is None:
            kind = "" if param.is_flag else str(param.display_type(ctx))
            param.metavar = _KINDS.get(kind, (param.name or "").upper().removeprefix("API_") if kind == "<str>" else None if kind else "")
    return params


class Command(TyperCommand):
    """A command whose epilog is shown as it is written: a line for each example."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As ever, with short words for what options take."""
        return _plainly(super().get_params(ctx), ctx)

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """As ever, without braces."""
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, then the examples."""
        epilog, self.epilog = self.epilog, None
        try:
            super().format_help(ctx, formatter)
        finally:
            self.epilog = epilog
        console = Console(highlight=False, soft_wrap=True)
        console.print(Text(" Examples", style="bold"))
        for line in (epilog or "").splitlines():
            console.print(Text(f"   {line}"))
        console.print()


class Group(TyperGroup):
    """Commands in the order of their panels."""

    def get_params(self, ctx: Any) -> list[Any]:
        """As ever, with short words for what options take."""
        return _plainly(super().get_params(ctx), ctx)

    def list_commands(self, ctx: Any) -> list[str]:
        """By panel, and in a panel as written."""
        panels = {name: getattr(command, "rich_help_panel", None) for name, command in self.commands.items()}
        return sorted(super().list_commands(ctx), key=lambda name: _PANELS.index(panels[name] or Panel.HERE))


app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Self-hosted training: write a job spec, submit it, watch it, take the model home.",
)

Url = Annotated[str | None, typer.Option("--url", help="The service's address.", show_default=False, rich_help_panel="Everywhere")]
ApiKey = Annotated[str | None, typer.Option("--api-key", help="Its key.", show_default=False, rich_help_panel="Everywhere")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.", rich_help_panel="Everywhere")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.", rich_help_panel="Everywhere")]
_SHARED = {"as_json": Json, "quiet": Quiet, "url": Url, "api_key": ApiKey}
JobId = Annotated[str, typer.Argument(help="The job's id.", metavar="ID", show_default=False, autocompletion=job_ids)]
JobIds = Annotated[list[str], typer.Argument(help="Ids of jobs.", metavar="ID...", show_default=False, autocompletion=job_ids)]


def command(
    where: typer.Typer,
    *examples: str,
    name: str | None = None,
    panel: Panel | None = None,
    shared: Sequence[str] = tuple(_SHARED),
    **more: Any,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command, with the options of every command besides its own, and examples."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def told(**values: Any) -> None:
            for option in shared:
                given = values.pop(option)
                if given:
                    setattr(said, option, given)
            function(**values)

        own = inspect.signature(function, eval_str=True)
        asked = [
            inspect.Parameter(
                option, inspect.Parameter.KEYWORD_ONLY, default=None if option in ("url", "api_key") else False, annotation=_SHARED[option]
            )
            for option in shared
        ]
        plain = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in own.parameters.values()]
        told.__signature__ = own.replace(parameters=[*plain, *asked])  # type: ignore[attr-defined]  # inspect reads it
        told.__annotations__ = {each.name: each.annotation for each in (*plain, *asked)}
        where.command(name, cls=Command, epilog="\n".join(examples), rich_help_panel=panel, short_help=_first_sentence(function), **more)(
            told
        )
        return function

    return register


def _first_sentence(function: Callable[..., None]) -> str:
    """What stands in the list of commands."""
    return (function.__doc__ or "").partition(". ")[0].partition("; ")[0].partition(" (")[0].removesuffix(".") + "."


def _show_version(asked: bool) -> None:
    if asked:
        print(version("trainyard"))
        raise typer.Exit


@app.callback()
def told_before_the_command(
    url: Url = None,
    api_key: ApiKey = None,
    project: Annotated[
        str | None, typer.Option("--project", help="The project, for a key of the installation.", show_default=False)
    ] = None,
    quiet: Quiet = False,
    show_version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")] = False,  # noqa: ARG001  # its callback has answered
) -> None:
    """What is told before the command's name holds for it, too."""
    said.url, said.api_key, said.project, said.quiet, said.as_json = url, api_key, project, quiet, False


def hint(*steps: str | tuple[str, str]) -> None:
    """What one may do next, on stderr: a sentence, or a purpose and its command. Not with -q."""
    if said.quiet:
        return
    width = max((len(step[0]) for step in steps if isinstance(step, tuple)), default=0)
    for step in steps:
        err.print(step if isinstance(step, str) else f"{step[0] + ':':<{width + 1}} {step[1]}", style="dim")


def note(text: str) -> None:
    """What happens, on stderr; not with -q."""
    if not said.quiet:
        err.print(text)
