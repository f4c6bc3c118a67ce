"""docs/api.md: every route, from docs/openapi.json."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from service.reference.markdown import anchor, block, code, folded, page, table
from service.reference.types import Words

URL = "http://127.0.0.1:8000"
_IN_PATHS = {
    "{job_id}": "JOB_ID",
    "{key_id}": "KEY_ID",
    "{project}": "red",
    "{name}": "digits",
    "{version}": "VERSION",
    "{path}": "model.safetensors",
    "{step}": "STEP",
    "{delivery_id}": "DELIVERY",
}
_QUERIES = {
    "GET /v1/jobs": "?state=succeeded&limit=10",
    "GET /v1/jobs/{job_id}": "?wait=60&while=running",
    "GET /v1/jobs/{job_id}/events": "?limit=100",
    "GET /v1/jobs/{job_id}/metrics": "?format=csv",
    "GET /v1/jobs/{job_id}/logs": "?tail=20",
}
_SPEC = "-H 'Content-Type: application/yaml' --data-binary @job.yaml"
_OPTIONS = {
    "POST /v1/jobs": f"{_SPEC} -H 'Idempotency-Key: my-first-job'",
    "POST /v1/jobs/{job_id}/predict": "-H 'Content-Type: image/png' --data-binary @digit.png",
    "PUT /v1/datasets/{name}": "-T digits.npz",
    "POST /v1/keys": '-d \'{"name": "ci", "role": "submit"}\'',
    "PATCH /v1/keys/{key_id}": '-d \'{"name": "nightly"}\'',
    "POST /v1/projects": '-d \'{"name": "red"}\'',
    "GET /v1/jobs/{job_id}/artifacts.zip": "-o artifacts.zip",
    "GET /v1/jobs/{job_id}/artifacts/{path}": "-O",
    "GET /v1/jobs/{job_id}/checkpoints/{step}/{path}": "-O",
    "GET /v1/datasets/{name}/{version}/upload": "-o digits.npz",
    "GET /v1/datasets/{name}/{version}/sheet.png": "-O",
}
_PARAMETERS = {
    "job_id": "The job.",
    "key_id": "The key's id: what stands in it before its secret.",
    "project": "The project.",
    "delivery_id": "The delivery.",
    "name": "The data set's name.",
    "query name": "Only jobs of this name.",
    "version": "The version: its SHA-256, or the first eight digits of it or more.",
    "path": "The file's path, as the manifest has it.",
    "step": "The checkpoint's step.",
    "limit": "How many at most.",
    "cursor": "`next_cursor` of the page before.",
    "state": "Only jobs in this state; may be said several times.",
    "label": "Only jobs with this label, as `key:value`; may be said several times.",
    "wait": "Seconds to wait for another state, 0 to 60; an ended job is answered at once.",
    "while": "The state that is left; the state on arrival if not given.",
    "after": "Only events after this id.",
    "format": "JSON, or a CSV table.",
    "tail": "Only so many last lines.",
    "resize": "Make an image of another size fit.",
    "idempotency-key": "Sent again with the same body within 24 hours, it answers with the same job.",
    "if-none-match": "The ETag that you have; 304 where nothing has changed.",
    "last-event-id": "The id of the last event that you have: the stream goes on after it.",
    "range": "Which bytes, as `bytes=0-99`.",
    "x-content-sha256": "The bytes' SHA-256; an upload that has another one is refused.",
}
"""What parameters mean, where their routes do not say."""
_STATUS = {
    "400": "the header Host is no host",
    "401": "no key was sent, or one that is unknown, mistyped, expired or revoked",
    "403": "the key's role does not allow it, or a page of another site asked",
    "404": "it is not there, or it is another project's",
    "408": "the body came too slowly",
    "409": "its state does not allow it",
    "413": "the body is too large",
    "415": "the body is of a kind that is not taken",
    "416": "there are no such bytes",
    "421": "the service does not go by that name",
    "422": "the request, the spec or the data are at fault: `errors` lists every fault with its place",
    "431": "the head of the request is too large",
    "429": "this key asked too often, or too many keys that are none came from this address: ask again after `Retry-After` seconds; without it, the project has all that its quota allows",
    "503": "a part of the service is away or busy: ask again after `Retry-After` seconds",
    "507": "the disk of the service is full",
}
_ANYWHERE = ("400", "403", "421", "431")
"""Found before a route is chosen, so not said of each."""
_JOB = """
dataset: Digits
model: {type: Sequential, layers: [Flatten, {type: Linear, out_features: 10}]}
loss: CrossEntropyLoss
optimizer: {type: Adam, lr: 0.01}
epochs: 5
"""


@dataclass(frozen=True)
class _Route:
    method: str
    path: str
    says: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def tag(self) -> str:
        return str(self.says["tags"][0])


def api_page(openapi: Mapping[str, Any]) -> str:
    """The page."""
    routes = [_Route(method.upper(), path, says) for path, methods in openapi["paths"].items() for method, says in methods.items()]
    return page(
        "# API reference",
        "Every route of the service. `make reference` writes this page from [openapi.json](openapi.json), which the routes themselves give; "
        "a running service shows the same under `/docs`.",
        f"The examples talk to `{URL}`, where `make up` serves, and take this `job.yaml`. JOB_ID stands for a job's `id`, VERSION for the `version` of a data set, STEP for a checkpoint's, DELIVERY for the `id` of a webhook. "
        "Where the service has a key, add `-H 'Authorization: Bearer KEY'`; a project sees only its own jobs and data. Times are RFC 3339 in UTC. "
        "Save this as `job.yaml`:",
        block("yaml", _JOB),
        "## Routes",
        table(
            ("route", "what"), [(f"[{code(route.title)}](#{anchor(route.title)})", _first(_description(route.says))) for route in routes]
        ),
        "## Errors",
        "Every error is `application/problem+json` (RFC 9457): [Problem](#problem). A fault of a spec has a JSON Pointer into the body as it was sent.",
        table(("status", "when"), list(_STATUS.items())),
        *_by_tag(routes),
        "## Records",
        *_records(openapi["components"]["schemas"]),
    )


def undescribed(openapi: Mapping[str, Any]) -> list[str]:
    """Parameters and statuses that neither a route nor this page explains."""
    operations = [says for methods in openapi["paths"].values() for says in methods.values()]
    parameters = {
        each["name"] for says in operations for each in says.get("parameters", ()) if not each.get("description") and not _meaning(each)
    }
    statuses = {status for says in operations for status in says["responses"] if not status.startswith("2")}
    return sorted(parameters | (statuses - set(_STATUS)))


def _by_tag(routes: list[_Route]) -> Iterator[str]:
    for tag in dict.fromkeys(route.tag for route in routes):
        yield f"## {tag[0].upper()}{tag[1:]}"
        for route in routes:
            if route.tag == tag:
                yield from _route(route)


def _route(route: _Route) -> Iterator[str]:
    yield f"### {route.title}"
    yield _description(route.says)
    yield block("sh", _curl(route))
    parameters = route.says.get("parameters", ())
    if parameters:
        yield table(("parameter", "where", "type and range", "what"), [_parameter(each) for each in parameters])
    bodies = route.says.get("requestBody", {}).get("content", {})
    if bodies:
        yield "Body: " + ", ".join(code(kind) for kind in bodies) + (", a [job spec](spec.md)." if _is_spec(bodies) else ".")
    yield "Answers: " + "; ".join(_answers(route.says["responses"])) + ". " + _errors(route.says["responses"])


def _is_spec(bodies: Mapping[str, Any]) -> bool:
    return any(body.get("schema", {}).get("$ref") == "/v1/schema/job.json" for body in bodies.values())


def _curl(route: _Route) -> str:
    path = route.path
    for name, example in _IN_PATHS.items():
        path = path.replace(name, example)
    address = f"{URL}{path}{_QUERIES.get(route.title, '')}"
    bodies = route.says.get("requestBody", {}).get("content", {})
    options = _OPTIONS.get(route.title, _SPEC if _is_spec(bodies) else "")
    implied = route.method == "GET" or (route.method == "PUT" and "-T" in options) or "--data" in options
    words = ["curl -s", "" if implied else f"-X {route.method}", options, f"'{address}'" if "?" in address else address]
    return " ".join(word for word in words if word)


def _parameter(each: Mapping[str, Any]) -> tuple[str, str, str, str]:
    required = " **required**" if each.get("required") and each["in"] != "path" else ""
    known = each["schema"].get("default")
    words = _WORDS.of(each["schema"]) + (f"; {code(str(known).lower())} if left out" if known is not None else "")
    return code(each["name"]), each["in"] + required, words, each.get("description") or _meaning(each)


def _meaning(each: Mapping[str, Any]) -> str:
    return _PARAMETERS.get(f"{each['in']} {each['name']}") or _PARAMETERS.get(each["name"], "")


def _answers(responses: Mapping[str, Any]) -> Iterator[str]:
    for status, says in responses.items():
        if status.startswith("2"):
            kinds = says.get("content", {})
            shown = [_answer(kind, body.get("schema", {})) for kind, body in kinds.items()]
            yield f"**{status}**" + (" " + " or ".join(shown) if shown else "")


def _answer(kind: str, schema: Mapping[str, Any]) -> str:
    return f"{_WORDS.of(schema)}" if "$ref" in schema else code(kind)


def _errors(responses: Mapping[str, Any]) -> str:
    statuses = sorted(status for status in responses if not status.startswith("2") and status not in _ANYWHERE)
    return f"Errors: {', '.join(statuses)}." if statuses else ""


def _records(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, says in sorted(schemas.items()):
        if "ValidationError" in name:
            continue  # what the framework would answer; the service answers with a Problem
        yield folded(name.lower(), f"<code>{name}</code> {_first(_description(says))}", page(*_record(says)).strip())


def _record(says: Mapping[str, Any]) -> Iterable[str]:
    if "enum" in says:
        return [", ".join(code(value) for value in says["enum"])]
    fields = says.get("properties", {})
    described = any(_about(field) for field in fields.values())
    head = ("field", "type", "what") if described else ("field", "type")
    return [table(head, [(code(name), _WORDS.of(field), _about(field))[: len(head)] for name, field in fields.items()])]


def _about(field: Mapping[str, Any]) -> str:
    return str(field.get("description") or next((each["description"] for each in field.get("anyOf", ()) if "description" in each), ""))


def _description(says: Mapping[str, Any]) -> str:
    return " ".join(str(says.get("description") or says.get("summary") or "").split())


def _first(text: str) -> str:
    """The first sentence."""
    return text.partition(". ")[0].rstrip(".") + "." if text else ""


def _link(names: tuple[str, ...]) -> str | None:
    return f"[{names[0]}](#{names[0].lower()})" if len(names) == 1 and names[0][:1].isupper() else None


_WORDS = Words(_link)
