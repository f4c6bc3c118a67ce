"""Specs as YAML and programs as HTML, coloured by classes that app.css knows."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from markupsafe import Markup
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer, YamlLexer
from ruamel.yaml import YAML

_LEXERS = {"yaml": YamlLexer, "python": PythonLexer}


def as_yaml(spec: Mapping[str, Any] | Sequence[Any]) -> str:
    """The spec as a person would write it: short lists and objects of layers on a line each."""
    yaml = YAML()
    yaml.default_flow_style = None
    yaml.width = 110
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(dict(spec) if isinstance(spec, Mapping) else list(spec), out)
    return out.getvalue()


def highlighted(text: str, language: Literal["yaml", "python"]) -> Markup:
    """The text, escaped and coloured."""
    return Markup(highlight(text, _LEXERS[language](), HtmlFormatter(nowrap=True)))  # noqa: S704 - pygments escapes what it is given
