"""Keys, projects and the audit log, as admins make, change and read them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import NamedTuple, TypedDict

from service.access.audit import AuditLog, Told
from service.access.errors import KeyChanged, KeyEnded, KeyNotFound, KeyRefused, LastKey, ProjectChanged, ProjectNotFound
from service.access.keys import Key, Project, Secret, digest, new_id, new_secret
from service.access.ports import AccessStore, Accounts
from service.access.principal import EVERYWHERE, Principal, Role
from service.access.quota import NO_QUOTA, Quota, Usage
from service.jobs.errors import StorageUnavailable
from service.jobs.ports import ArtifactStore
from service.safekeeping import save_access, stored_audit

PAGE = 500
MOST_LOOKED_THROUGH = 20_000
"""Entries of the log that one question looks through: the next one goes on from there."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """Every collaborator of these use cases. `quota`: of projects that have none of their own; `has_own`: the environment gives a key, too."""

    store: AccessStore
    audit: AuditLog
    artifacts: ArtifactStore
    now: Callable[[], datetime]
    accounts: Accounts
    quota: Quota = NO_QUOTA
    has_own: bool = False

    def save(self) -> None:
        """Into storage at once, so that what is revoked stays so whatever is lost; where storage is away, sweepers do it later."""
        with suppress(StorageUnavailable):
            save_access(store=self.store, artifacts=self.artifacts)


class NewKey(NamedTuple):
    """A key and its secret, which nobody can tell again."""

    key: Key
    text: str


class Described(TypedDict, total=False):
    """What of a key may be different later; what is left out stays."""

    name: str
    expires_at: datetime | None


def create_key(
    principal: Principal, *, name: str, project: str | None, role: Role, expires_at: datetime | None = None, access: Access
) -> NewKey:
    """A new key; of the principal's own project where none is named. Raises KeyRefused, ProjectNotFound."""
    project = project or principal.project
    _check_new(principal, project=project, role=role, expires_at=expires_at, access=access)
    made = _made(name=name, project=project, role=role, expires_at=expires_at, by=principal.key_id, now=access.now())
    # where the service is open, somebody else may close it at this moment
    if not access.store.add(made.key, first=principal.key_id is None):
        raise KeyRefused("Somebody else made the first key at the same time: nobody comes in without one now.")
    access.save()
    return made


def _check_new(principal: Principal, *, project: str, role: Role, expires_at: datetime | None, access: Access) -> None:
    if not principal.rules(project):
        raise ProjectNotFound(project)
    if project == EVERYWHERE:
        if role is not Role.ADMIN:
            raise KeyRefused(f"A key of the installation (project {EVERYWHERE!r}) is an admin's. Name one project for any other role.")
    elif principal.key_id is None:
        raise KeyRefused(
            "From the first key on nobody comes in without one. So the first is an admin's of the installation: "
            f'{{"project": "{EVERYWHERE}", "role": "admin"}}, or `trainyard keys create NAME --everywhere`. Make others with it.'
        )
    else:
        try:
            access.store.project(project)
        except ProjectNotFound as error:
            raise KeyRefused(f"{error} Make it first: POST /v1/projects, or `trainyard projects create {project}`.") from error
    _check_end(expires_at, access)


def _check_end(expires_at: datetime | None, access: Access) -> None:
    if expires_at is not None and expires_at <= access.now():
        raise KeyRefused("`expires_at` has passed already: name a moment to come, or null for a key that does not expire.")


def _made(*, name: str, project: str, role: Role, expires_at: datetime | None, by: str | None, now: datetime) -> NewKey:
    key_id = new_id()
    text = new_secret(key_id)
    key = Key(
        id=key_id,
        name=name,
        project=project,
        role=role,
        secrets=(Secret(sha256=digest(text)),),
        created_at=now,
        created_by=by,
        expires_at=expires_at,
    )
    return NewKey(key, text)


def first_key(access: Access) -> str | None:
    """An admin key of the installation, where there never was a key; of many who ask at the same time one gets it."""
    if access.store.exist():
        return None
    made = _made(name="first", project=EVERYWHERE, role=Role.ADMIN, expires_at=None, by=None, now=access.now())
    if not access.store.add(made.key, first=True):
        return None
    access.save()
    return made.text


def all_keys(principal: Principal, *, project: str | None = None, access: Access) -> Sequence[Key]:
    """Every key that the principal rules, of one project where it is named, by creation. Revoked ones are among them."""
    return [key for key in access.store.list() if principal.rules(key.project) and project in (None, key.project)]


def find_key(principal: Principal, key_id: str, *, access: Access) -> Key:
    """One key. Raises KeyNotFound: also for one that is not the principal's to rule."""
    key = access.store.find(key_id)
    if not principal.rules(key.project):
        raise KeyNotFound(key_id)
    return key


def describe_key(principal: Principal, key_id: str, *, changes: Described, access: Access) -> Key:
    """With another `name` or `expires_at`. Raises KeyNotFound, KeyEnded, KeyRefused, KeyChanged."""
    key = _live(principal, key_id, access=access)
    _check_end(changes.get("expires_at"), access)
    changed = key.described(name=changes.get("name", key.name), expires_at=changes.get("expires_at", key.expires_at))
    access.store.replace(changed)
    access.save()
    return changed


def rotate_key(principal: Principal, key_id: str, *, overlap: timedelta, access: Access) -> NewKey:
    """The key with a new secret; the old one is accepted for the overlap. Raises KeyNotFound, KeyEnded, KeyChanged."""
    key, text = _live(principal, key_id, access=access), new_secret(key_id)
    rotated = key.rotated(digest(text), now=access.now(), overlap=overlap)
    access.store.replace(rotated)
    access.save()
    return NewKey(rotated, text)


def revoke_key(principal: Principal, key_id: str, *, access: Access) -> None:
    """For good; again is harmless. Raises KeyNotFound, LastKey."""
    while True:
        key = find_key(principal, key_id, access=access)
        if key.revoked_at is not None:
            return
        if key.everywhere and not access.has_own and not _others(key, access):
            raise LastKey(key_id)
        try:
            access.store.replace(key.revoked(access.now()))
        except KeyChanged:  # whatever it was changed to, it is to go
            continue
        access.save()
        return


def _others(key: Key, access: Access) -> bool:
    """Whether another live key of the installation is there."""
    now = access.now()
    return any(other.everywhere and other.id != key.id and other.is_live(now) for other in access.store.list())


def _live(principal: Principal, key_id: str, *, access: Access) -> Key:
    key = find_key(principal, key_id, access=access)
    if key.revoked_at is not None:
        raise KeyEnded(key_id)
    return key


def all_projects(principal: Principal, *, access: Access) -> Sequence[Project]:
    """Every project that the principal rules, by name."""
    return [project for project in access.store.projects() if principal.rules(project.name)]


def find_project(principal: Principal, name: str, *, access: Access) -> Project:
    """One project. Raises ProjectNotFound: also for one that is not the principal's."""
    if not principal.rules(name):
        raise ProjectNotFound(name)
    return access.store.project(name)


def create_project(name: str, description: str, *, access: Access) -> Project:
    """A new project. Raises ProjectExists."""
    project = Project(name=name, description=description, created_at=access.now())
    access.store.make(project)
    access.save()
    return project


def delete_project(name: str, *, access: Access) -> None:
    """Forget a project that has nothing. Raises ProjectNotFound, ProjectInUse."""
    access.store.unmake(name)
    access.save()


class Share(NamedTuple):
    """What a project may have, and has: what was set for it, what holds (the installation's settings where nothing was), what is used."""

    project: str
    quota: Quota
    limits: Quota
    used: Usage


def share(project: Project, *, access: Access) -> Share:
    """Of one project, now."""
    limits = project.quota.otherwise(access.quota).limits
    return Share(project=project.name, quota=project.quota, limits=limits, used=access.accounts.usage(project.name))


def limit_project(name: str, quota: Quota, *, access: Access) -> Project:
    """The project with another quota, in place of the one before. Raises ProjectNotFound."""
    while True:
        project = access.store.project(name).limited(quota)
        try:
            access.store.change(project)
        except ProjectChanged:  # whatever it was changed to, the last word holds
            continue
        access.save()
        return project


class AuditPage(NamedTuple):
    """Entries, the newest first, and from where to go on; None at the end."""

    entries: Sequence[Told]
    next_cursor: str | None


def read_audit(*, before: str | None, limit: int, wanted: Callable[[Told], bool], access: Access) -> AuditPage:
    """What was done before an entry: first what the store has, then what only storage does."""
    found: list[Told] = []
    last, looked = before, 0
    for entry in islice(_entries(before, access), MOST_LOOKED_THROUGH):
        last, looked = entry.id, looked + 1
        if wanted(entry):
            found.append(entry)
            if len(found) == limit:
                break
    ended = len(found) < limit and looked < MOST_LOOKED_THROUGH
    return AuditPage(found, None if ended else last)


def _entries(before: str | None, access: Access) -> Iterator[Told]:
    while page := access.audit.before(before, limit=PAGE):
        yield from page
        before = page[-1].id
    yield from stored_audit(before, artifacts=access.artifacts)
