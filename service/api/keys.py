"""The endpoints under /v1/keys, for admins, and /v1/me, for everybody with a key."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from service.access.keys import NAME_LENGTH, Key
from service.access.principal import Role
from service.api.auth import administering, keyring_of, reading
from service.api.bodies import posted, told
from service.api.parts import Access, Who
from service.api.problems import responses
from service.use_cases import access as use_cases

DAY = 86_400

router = APIRouter(prefix="/v1", responses=responses(401, 403, 503), tags=["who may"])


class KeyState(StrEnum):
    """Whether a key opens anything."""

    LIVE = "live"
    EXPIRED = "expired"
    REVOKED = "revoked"


class KeyView(BaseModel):
    """A key without its secret, which nobody has."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    id: str
    name: str
    project: str
    """`*`: the installation's, good in every project."""
    role: Role
    state: KeyState
    created_at: datetime
    created_by: str | None
    """The key that made it; null where the service itself did, or was open."""
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    """To the minute."""
    old_secret_until: datetime | None
    """After a rotation: until when the secret before is accepted, too."""


class KeyShown(KeyView):
    """A key with its secret, this once."""

    key: str
    """The secret: to be kept now; it is not told again."""


class KeyList(BaseModel):
    """Keys, the oldest first; revoked ones, too."""

    data: list[KeyView]


class KeyWanted(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str = Field(min_length=1, max_length=NAME_LENGTH)
    """What it is for: a person, a program."""
    project: str | None = None
    """Its project, your own if left out; `*` makes an admin of the installation."""
    role: Role = Role.SUBMIT
    expires_at: AwareDatetime | None = None
    """Never if left out."""


class KeyChange(BaseModel):
    """What is to be different; the rest stays."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    name: str = Field(default="", min_length=1, max_length=NAME_LENGTH)
    """Another name."""
    expires_at: AwareDatetime | None = None
    """Another end; null: none."""


class Me(BaseModel):
    """Who asks, and what that allows."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    key_id: str | None
    """Null where the service is open: it has no key."""
    name: str | None
    project: str
    """The project that this request is about."""
    role: Role
    everywhere: bool
    """Of the installation: every project, named by the header `Trainyard-Project`."""
    expires_at: datetime | None


@router.get("/me", response_model=Me, dependencies=[Depends(reading)])
async def get_me(request: Request, who: Who) -> Me:
    """Whose key this is."""
    key = await keyring_of(request).find(who.key_id) if who.key_id else None
    return Me(
        key_id=who.key_id,
        name=key.name if key else None,
        project=who.project,
        role=who.role,
        everywhere=who.everywhere,
        expires_at=key.expires_at if key else None,
    )


@router.post(
    "/keys",
    status_code=201,
    response_model=KeyShown,
    responses=responses(404, 413, 422),
    openapi_extra=told(KeyWanted),
    dependencies=[Depends(administering)],
)
def create_key(
    request: Request, response: Response, who: Who, access: Access, wanted: Annotated[KeyWanted, Depends(posted(KeyWanted))]
) -> KeyShown:
    """Make a key. The answer has its secret, which is not told again."""
    made = use_cases.create_key(
        who, name=wanted.name, project=wanted.project, role=wanted.role, expires_at=wanted.expires_at, access=access
    )
    keyring_of(request).forget()
    response.headers.update({"Location": f"/v1/keys/{made.key.id}", "Cache-Control": "no-store"})
    return KeyShown(**_fields(made.key, access), key=made.text)


@router.get("/keys", response_model=KeyList, dependencies=[Depends(administering)])
def list_keys(
    who: Who, access: Access, project: Annotated[str | None, Query(description="Only this project's; `*`: only the installation's.")] = None
) -> KeyList:
    """The project's keys; to an admin of the installation, every key."""
    used = access.store.last_used()
    return KeyList(data=[KeyView(**_fields(key, access, used)) for key in use_cases.all_keys(who, project=project, access=access)])


@router.get("/keys/{key_id}", response_model=KeyView, responses=responses(404), dependencies=[Depends(administering)])
def get_key(key_id: str, who: Who, access: Access) -> KeyView:
    """One key."""
    return KeyView(**_fields(use_cases.find_key(who, key_id, access=access), access))


@router.patch(
    "/keys/{key_id}",
    response_model=KeyView,
    responses=responses(404, 409, 413, 422),
    openapi_extra=told(KeyChange),
    dependencies=[Depends(administering)],
)
def change_key(
    key_id: str, request: Request, who: Who, access: Access, change: Annotated[KeyChange, Depends(posted(KeyChange))]
) -> KeyView:
    """Give it another name, or another end."""
    changes: use_cases.Described = {}
    if "name" in change.model_fields_set:
        changes["name"] = change.name
    if "expires_at" in change.model_fields_set:
        changes["expires_at"] = change.expires_at
    key = use_cases.describe_key(who, key_id, changes=changes, access=access)
    keyring_of(request).forget()
    return KeyView(**_fields(key, access))


@router.post("/keys/{key_id}/rotate", response_model=KeyShown, responses=responses(404, 409, 422), dependencies=[Depends(administering)])
def rotate_key(
    key_id: str,
    request: Request,
    response: Response,
    who: Who,
    access: Access,
    overlap_seconds: Annotated[int, Query(ge=0, le=30 * DAY, description="How long the secret before is accepted, too.")] = DAY,
) -> KeyShown:
    """Give it a new secret, told this once. Sessions that were signed in with the old one end with it."""
    made = use_cases.rotate_key(who, key_id, overlap=timedelta(seconds=overlap_seconds), access=access)
    keyring_of(request).forget()
    response.headers["Cache-Control"] = "no-store"
    return KeyShown(**_fields(made.key, access), key=made.text)


@router.delete("/keys/{key_id}", status_code=204, responses=responses(404, 409), dependencies=[Depends(administering)])
def revoke_key(key_id: str, request: Request, who: Who, access: Access) -> None:
    """Revoke it, for good. Its sessions end, too. Repeating is harmless."""
    use_cases.revoke_key(who, key_id, access=access)
    keyring_of(request).forget()


def _fields(key: Key, access: use_cases.Access, used: Mapping[str, datetime] | None = None) -> dict[str, Any]:
    now = access.now()
    state = KeyState.REVOKED if key.revoked_at else KeyState.LIVE if key.is_live(now) else KeyState.EXPIRED
    old = key.secrets[1].until if len(key.secrets) > 1 else None
    return {
        **key.model_dump(include=set(KeyView.model_fields)),
        "state": state,
        "last_used_at": (access.store.last_used() if used is None else used).get(key.id),
        "old_secret_until": old if old and now < old else None,
    }
