"""Who asks, and whether they may: a bearer key, or a browser's session that stands for one. Each route says which role it takes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from typing import TypeVar

from fastapi import Request

from service.access.errors import KeyNotFound, ProjectNotFound
from service.access.keys import Key, Malformed, is_made
from service.access.principal import DEFAULT_PROJECT, Principal, Role
from service.api import sessions
from service.api.keyring import Keyring
from service.api.places import client_of
from service.api.problems import Refused
from service.api.rating import Counted, Rating, told
from service.jobs.errors import Unavailable

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
PROJECT_HEADER = "trainyard-project"
CSRF_HEADER = "x-csrf-token"
Endpoint = TypeVar("Endpoint", bound=Callable[..., object])


class Door:
    """A dependency of a route: gives the principal to whom the role, or a greater one, is given. Raises Refused (401, 403, 429)."""

    counts = True
    """Whether a request takes of its key's rate."""

    def __init__(self, role: Role) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Principal:
        """Whoever asks."""
        request.state.needed = self.role
        found = await _known(request, counts=self.counts)
        if not found.role.allows(self.role):
            detail = f"This key has the role `{found.role}` in project {found.project}; this takes `{self.role}`."
            raise Refused(403, "forbidden", detail)
        return found

    def is_asked_by(self, endpoint: Endpoint) -> Endpoint:
        """Marks an endpoint that asks this door itself, for speed."""
        endpoint.door = self  # type: ignore[attr-defined]  # a mark for who looks through the routes
        return endpoint


reading, submitting, administering = Door(Role.READ), Door(Role.SUBMIT), Door(Role.ADMIN)


async def public() -> None:
    """A dependency that lets everybody in: a route has to say so, too."""


def keyring_of(request: Request) -> Keyring:
    """Every key that opens this service."""
    keyring: Keyring = request.app.state.keyring
    return keyring


def rating_of(request: Request) -> Rating:
    """Everybody's rates."""
    rating: Rating = request.app.state.rating
    return rating


async def principal_of(request: Request) -> Principal:
    """Whoever asks, whatever they may do. Raises Refused (401, 403, 429), ProjectNotFound."""
    return await _known(request)


async def project_of(request: Request) -> str:
    """The project that the request is about."""
    return (await principal_of(request)).project


async def _known(request: Request, *, counts: bool = True) -> Principal:
    """Found out once for each request, which is counted then: before anything else is asked of a store."""
    known: Principal | None = getattr(request.state, "principal", None)
    if known is None:
        who, chosen = await _identified(request)
        if counts:
            await _count(request, who)
        request.state.principal = known = await _in_project(who, request, otherwise=chosen)
        request.state.project = known.project  # for the request's line of the log
    return known


async def _count(request: Request, who: Principal) -> None:
    """Raises Refused (429)."""
    counted = await rating_of(request).count(who.key_id)
    if counted is None:
        return
    request.state.rated = told(counted)
    if not counted.standing.let:
        request.state.principal = who  # whose audit log says so
        policy, whose = counted.policy, "This key" if who.key_id else "Whoever comes without a key"
        raise _too_many(
            counted,
            f"{whose} may make {policy.per_second:g} requests a second, and {policy.burst:,} at once. Ask again in {{}} s; wait for changes "
            "(`?wait=`, event streams) rather than asking often, and ask for lists rather than for each job. TRAINYARD_RATE_LIMIT sets the rate.",
        )


async def _identified(request: Request) -> tuple[Principal, str | None]:
    """Whoever asks, in the project that nobody has to name, and the one that a session has chosen. Raises Refused (401, 403, 429)."""
    keyring = keyring_of(request)
    if await keyring.is_open():
        return Principal(key_id=None, project=DEFAULT_PROJECT, role=Role.ADMIN, everywhere=True), None
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        key = await key_shown(given.strip(), request)
        await keyring.note_use(key)
        return as_principal(key), None
    if not given and (cookie := request.cookies.get(sessions.COOKIE)):
        return await _by_session(cookie, request, keyring)
    raise _unauthorized("Send `Authorization: Bearer <key>` with a key of this service.")


async def key_shown(text: str, request: Request) -> Key:
    """The live key that reads so. Raises Refused (401, 429)."""
    keyring, rating, address = keyring_of(request), rating_of(request), client_of(request)
    shut = rating.shut(address)
    if shut is not None and not is_made(text):  # nobody guesses a key that was made: those who share the address with a guesser come in
        raise _too_many_wrong(request, shut)
    try:
        key = await keyring.key_of(text)
    except (Malformed, KeyNotFound) as error:
        counted = await rating.count_wrong(address)
        if counted is not None and not counted.standing.let:
            raise _too_many_wrong(request, counted) from error
        raise _unauthorized("This is no key of this service: it is mistyped, or of another one.") from error
    request.state.key_id = key.id
    if not key.is_live(keyring.now):  # whoever has the secret may know what became of it
        what = f"was revoked on {key.revoked_at:%Y-%m-%d}" if key.revoked_at else f"expired on {key.expires_at:%Y-%m-%d %H:%M} UTC"
        raise _unauthorized(f"This key {what}. Ask an admin for another.")
    return key


async def _by_session(cookie: str, request: Request, keyring: Keyring) -> tuple[Principal, str | None]:
    secret = await keyring.session_secret()
    session = sessions.read(cookie, secret)
    request.state.key_id = session.key_id if session else None
    try:
        key = await keyring.find(session.key_id) if session else None
    except (Malformed, KeyNotFound):
        key = None
    if session is None or key is None or not (key.is_live(keyring.now) and key.signed_in(session.fingerprint, now=keyring.now)):
        raise _unauthorized("You are not signed in any more.")
    request.state.session = session
    request.state.csrf_token = sessions.csrf_token(cookie, secret)
    if request.method not in SAFE:
        check_site(request)
        if not sessions.is_csrf_token(request.headers.get(CSRF_HEADER, ""), cookie, secret):
            raise Refused(
                403, "forbidden", f"A session changes something only with its `{CSRF_HEADER}`. Load the page again, or use a key."
            )
    principal = as_principal(key)
    return principal, session.project if principal.everywhere else None


async def while_let_in(request: Request, stream: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    """What a stream tells, for as long as whoever asked for it would be let in."""
    async with aclosing(stream):
        async for said in stream:
            with suppress(Unavailable):  # then nothing comes but signs of life
                try:
                    await _identified(request)
                except Refused:
                    return
            yield said


async def check_again(request: Request) -> None:
    """For an answer that kept whoever asks waiting: raises Refused where they would not be let in any more."""
    await _identified(request)


def check_site(request: Request) -> None:
    """Raises Refused (403) where a browser says that another site asks."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Refused(403, "forbidden", "Another site may not ask this in your name.")


def as_principal(key: Key) -> Principal:
    """Whose the key is; one of the installation in the project that nobody has to name."""
    project = DEFAULT_PROJECT if key.everywhere else key.project
    return Principal(key_id=key.id, project=project, role=key.role, everywhere=key.everywhere)


async def _in_project(principal: Principal, request: Request, *, otherwise: str | None) -> Principal:
    """In the project that the request names. Raises ProjectNotFound: also for one that is not the key's."""
    named = request.headers.get(PROJECT_HEADER, otherwise)
    if named is None or named == principal.project:
        return principal
    if not principal.everywhere:
        raise ProjectNotFound(named)
    await keyring_of(request).check_project(named)
    return Principal(key_id=principal.key_id, project=named, role=principal.role, everywhere=True)


def _too_many(counted: Counted, detail: str) -> Refused:
    """`detail` has a place for the seconds to wait."""
    seconds = str(counted.standing.seconds)
    return Refused(429, "rate-limited", detail.format(seconds), headers={"Retry-After": seconds})


def _too_many_wrong(request: Request, counted: Counted) -> Refused:
    request.state.rated = told(counted)
    return _too_many(counted, "Too many keys that are none came from this address. Ask again in {} s, with a key of this service.")


def _unauthorized(detail: str) -> Refused:
    return Refused(401, "unauthorized", detail, headers={"WWW-Authenticate": 'Bearer realm="trainyard"'})
