"""What a process is told by its environment, typed. `.env` is read; a secret may come as NAME_FILE naming a file that holds it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import AliasChoices, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class SettingsFault(ValueError):
    """The environment cannot be used; the text names the variable and the cure."""


class StoreSettings(BaseSettings):
    """Where the record and the files live."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True)

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", validation_alias=AliasChoices("REDIS_URL"))
    s3_endpoint_url: str | None = Field(default=None, validation_alias=AliasChoices("S3_ENDPOINT_URL"))
    s3_bucket: str = Field(default="trainyard", validation_alias=AliasChoices("S3_BUCKET"))
    s3_checksums: str = Field(
        default="when_required", pattern="^(when_required|when_supported)$", validation_alias=AliasChoices("S3_CHECKSUMS")
    )
    aws_access_key_id: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_ACCESS_KEY_ID"))
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY"))
    aws_region: str = Field(default="us-east-1", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    lease_seconds: float = Field(default=60, gt=0, validation_alias=AliasChoices("TRAINYARD_LEASE_SECONDS"))
    sweep_seconds: float = Field(default=5, gt=0, validation_alias=AliasChoices("TRAINYARD_SWEEP_SECONDS"))
    project_slots: int = Field(default=0, ge=0, validation_alias=AliasChoices("TRAINYARD_PROJECT_SLOTS"))
    """Jobs of one project that may run at a time; 0 sets no limit."""
    uncontained_code: bool = Field(default=False, validation_alias=AliasChoices("TRAINYARD_UNCONTAINED_CODE"))
    """Run custom modules like the service's own code: only where every user is trusted with the machine."""
    threads: int = Field(default=os.cpu_count() or 1, ge=1, validation_alias=AliasChoices("TRAINYARD_THREADS"))
    """Intra-op threads of a job that names none: part of its numbers, so stored with it."""

    @model_validator(mode="before")
    @classmethod
    def _secret_files(cls, values: Any) -> Any:
        return _with_secret_files(values, os.environ)

    @classmethod
    def read(cls) -> Self:
        """The settings of this process. Raises SettingsFault naming every bad variable."""
        try:
            return cls()
        except ValidationError as error:
            lines = [": ".join((*map(str, problem["loc"]), problem["msg"])) for problem in error.errors()]
            raise SettingsFault("; ".join(lines)) from error


class ApiSettings(StoreSettings):
    """What the API process needs besides."""

    host: str = Field(default="127.0.0.1", validation_alias=AliasChoices("TRAINYARD_HOST"))
    port: int = Field(default=8000, ge=0, le=65535, validation_alias=AliasChoices("TRAINYARD_PORT"))
    api_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_API_KEY"))
    preflight_children: int = Field(default=2, ge=1, le=64, validation_alias=AliasChoices("TRAINYARD_PREFLIGHT_CHILDREN"))
    """Specs that are checked at the same time; each child holds torch, some 400 MB."""
    datasets_dir: Path | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_DATASETS_DIR"))
    """Data of the operator's, as the workers see them too."""
    spool_dir: Path = Field(
        default=Path(tempfile.gettempdir()) / f"trainyard-{os.getuid()}", validation_alias=AliasChoices("TRAINYARD_SPOOL_DIR")
    )
    """Where uploads lie until they are in storage, and are unpacked to be looked at."""
    upload_bytes: int = Field(default=10 * 2**30, ge=1, validation_alias=AliasChoices("TRAINYARD_UPLOAD_BYTES"))
    """The most that one uploaded data set may have."""
    trusted_proxies: str = Field(default="", validation_alias=AliasChoices("TRAINYARD_TRUSTED_PROXIES"))
    """Addresses and networks, by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed; of all others they are not."""
    require_api_key: bool = Field(default=False, validation_alias=AliasChoices("TRAINYARD_REQUIRE_API_KEY"))
    """Let nobody in without a key; where there is none, the API makes the first and prints it."""


def _with_secret_files(values: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "TRAINYARD_API_KEY"):
        path = environment.get(f"{name}_FILE")
        if path and name not in environment:
            try:
                values[name] = Path(path).read_text().strip()
            except OSError as error:
                raise ValueError(f"{name}_FILE names {path}, which cannot be read ({error.strerror})") from error
            if not values[name]:
                raise ValueError(f"{name}_FILE names {path}, which is empty")
    return values
