"""What can go wrong around keys and projects; a branch of the tree in service/jobs/errors.py:

TrainyardError
└── AccessError
    ├── KeyNotFound       no such key, or it is another project's
    ├── ProjectNotFound   no such project
    ├── ProjectExists     a project of that name is there already
    ├── ProjectInUse      it has jobs, data sets or live keys
    ├── ProjectChanged    somebody else changed it meanwhile; asking again helps
    ├── KeyRefused        a key that cannot be made, or changed so
    ├── KeyEnded          it is revoked, for good
    ├── LastKey           without it nobody could make another
    └── KeyChanged        somebody else changed it meanwhile; asking again helps
"""

from __future__ import annotations

from service.jobs.errors import TrainyardError


class AccessError(TrainyardError):
    """The root of this branch."""


class KeyNotFound(AccessError):
    """No such key, or it is another project's."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {key_id!r}.")


class ProjectNotFound(AccessError):
    """No such project."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no project {name!r}.")


class ProjectExists(AccessError):
    """A project of that name is there already."""

    def __init__(self, name: str) -> None:
        super().__init__(f"There is a project {name!r} already.")


class ProjectInUse(AccessError):
    """It has jobs, data sets or live keys."""

    def __init__(self, name: str, *, by: str) -> None:
        super().__init__(f"Project {name} cannot be removed: it has {by}.")


class ProjectChanged(AccessError):
    """Somebody else changed the project meanwhile."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Project {name} was changed by somebody else at the same time. Look at it, and ask again.")


class KeyRefused(AccessError):
    """A key that cannot be made, or changed so; the text says what can."""


class KeyChanged(AccessError):
    """Somebody else changed the key meanwhile."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {key_id} was changed by somebody else at the same time. Look at it, and ask again.")


class KeyEnded(AccessError):
    """A key that is revoked cannot be changed any more."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {key_id} is revoked, and stays so. Make another.")


class LastKey(AccessError):
    """The key cannot be revoked: nobody could make another one."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"Key {key_id} is the last one that can make others. Make another admin key of the installation first.")
