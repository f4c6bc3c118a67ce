"""The source of a class of one's own with all that it uses, as `{type: Module, code: ...}` takes it."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from service.client.declaring.objects import name_of, refuse


def module_of(model: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The `model` part for a class of one's own: its source, its imports, and what else of its file it uses. Raises CannotDeclare."""
    _check_arguments(model, arguments)
    said = {"type": "Module", "class_name": name_of(model), "code": _code(model)}
    return said | ({"kwargs": dict(arguments)} if arguments else {})


def _check_arguments(model: Any, arguments: Mapping[str, Any]) -> None:
    """An object does not keep what it was made of, so what has no default has to be told."""
    try:
        inspect.signature(type(model)).bind(**arguments)
    except TypeError as error:
        cure = f"Give the constructor's arguments: source_arguments={{...}} for {name_of(model)}{inspect.signature(type(model))}."
        refuse("model", model, f"cannot be made again: {error}", cure)


def _code(model: Any) -> str:
    try:
        text = Path(inspect.getsourcefile(type(model)) or "").read_text()
        lines = inspect.getsource(type(model))
    except (OSError, TypeError):
        cure = "Put the class into a file and import it, or say it yourself: model={'type': 'Module', 'class_name': ..., 'code': ...}."
        refuse("model", model, "has no source that can be read", cure)
    used = _used(ast.parse(text), name_of(model))
    if not used:  # a class in a class or in a function
        return refuse("model", model, "does not stand at the top of its file", f"Move it there:\n{lines}")
    return "\n\n\n".join(ast.get_source_segment(text, each) or "" if not _decorated(each) else _whole(text, each) for each in used) + "\n"


def _used(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The statements at the top of a file that a name needs, in written order."""
    binding: dict[str, list[ast.stmt]] = {}
    for statement in tree.body:
        for bound in _bound(statement):
            binding.setdefault(bound, []).append(statement)
    wanted, needed = [name], set[ast.stmt]()
    while wanted:
        for statement in binding.get(wanted.pop(), ()):
            if statement not in needed:
                needed.add(statement)
                wanted += [each.id for each in ast.walk(statement) if isinstance(each, ast.Name)]
    futures = [each for each in tree.body if isinstance(each, ast.ImportFrom) and each.module == "__future__"]
    return [each for each in tree.body if each in needed or each in futures] if needed else []


def _bound(statement: ast.stmt) -> Iterator[str]:
    """The names that a statement makes."""
    match statement:
        case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.Import(names=names) | ast.ImportFrom(names=names):
            yield from (each.asname or each.name.partition(".")[0] for each in names)
        case _:
            yield from (each.id for each in ast.walk(statement) if isinstance(each, ast.Name) and isinstance(each.ctx, ast.Store))


def _decorated(statement: ast.stmt) -> bool:
    return bool(getattr(statement, "decorator_list", ()))


def _whole(text: str, statement: Any) -> str:
    """With its decorators, which `ast.get_source_segment` leaves out."""
    return "\n".join(text.splitlines()[statement.decorator_list[0].lineno - 1 : statement.end_lineno])
