"""What a process is told by its environment, typed. `.env` is read; a secret may come as NAME_FILE naming a file that holds it."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit

from pydantic import AliasChoices, Field, SecretStr, ValidationError, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from service.access.quota import LARGEST, Quota
from service.access.rates import HIGHEST_RATE, LARGEST_BURST, LOWEST_RATE
from service.certificates import trusting, with_certificates
from service.webhooks.addresses import Allowed
from service.webhooks.delivery import LONGEST_PAUSE, PAUSES

SECRETS: tuple[str, ...] = (
    *("REDIS_URL", "TRAINYARD_BROKER_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"),
    *("TRAINYARD_API_KEY", "TRAINYARD_METRICS_TOKEN"),
)
"""What may come as NAME_FILE, too; the URLs carry passwords."""


class SettingsFault(ValueError):
    """The environment cannot be used; the text names the variable and the cure."""


class StoreSettings(BaseSettings):
    """Where the record and the files live."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", frozen=True, populate_by_name=True, env_ignore_empty=True)

    redis_ca_file: Path | None = Field(default=None, validation_alias=AliasChoices("REDIS_CA_FILE"))
    """Who vouches for Redis's certificate, where its URL is rediss://; None: whom this machine trusts."""
    redis_cert_file: Path | None = Field(default=None, validation_alias=AliasChoices("REDIS_CERT_FILE"))
    redis_key_file: Path | None = Field(default=None, validation_alias=AliasChoices("REDIS_KEY_FILE"))
    """A certificate of our own, where Redis asks for one."""
    redis_url: str = Field(default="redis://127.0.0.1:6379/0", repr=False, validation_alias=AliasChoices("REDIS_URL"))
    broker_url: str | None = Field(default=None, repr=False, validation_alias=AliasChoices("TRAINYARD_BROKER_URL"))
    """The doorbell's Redis, or its own user there; None: as the record's."""
    s3_endpoint_url: str | None = Field(default=None, validation_alias=AliasChoices("S3_ENDPOINT_URL"))
    s3_ca_file: Path | None = Field(default=None, validation_alias=AliasChoices("S3_CA_FILE"))
    """Who vouches for storage's certificate; None: whom boto3 trusts, AWS_CA_BUNDLE included."""
    s3_addressing: Literal["path", "virtual"] = Field(default="path", validation_alias=AliasChoices("S3_ADDRESSING"))
    """Whether the bucket stands in the path or in the host's name."""
    s3_bucket: str = Field(default="trainyard", validation_alias=AliasChoices("S3_BUCKET"))
    s3_checksums: str = Field(
        default="when_required", pattern="^(when_required|when_supported)$", validation_alias=AliasChoices("S3_CHECKSUMS")
    )
    # without a key boto3 looks for one itself: a profile, a role of the machine, of the container or of the pod
    aws_access_key_id: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_ACCESS_KEY_ID"))
    aws_secret_access_key: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_SECRET_ACCESS_KEY"))
    aws_session_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("AWS_SESSION_TOKEN"))
    aws_region: str = Field(default="us-east-1", validation_alias=AliasChoices("AWS_REGION", "AWS_DEFAULT_REGION"))
    lease_seconds: float = Field(default=60, gt=0, validation_alias=AliasChoices("TRAINYARD_LEASE_SECONDS"))
    sweep_seconds: float = Field(default=5, gt=0, validation_alias=AliasChoices("TRAINYARD_SWEEP_SECONDS"))
    project_slots: int = Field(default=0, ge=0, le=LARGEST, validation_alias=AliasChoices("TRAINYARD_PROJECT_SLOTS"))
    """Jobs of one project that may run at a time; 0 sets no limit. This and the next three hold where the project has no quota of its own."""
    project_queued: int = Field(default=0, ge=0, le=LARGEST, validation_alias=AliasChoices("TRAINYARD_PROJECT_QUEUED"))
    project_bytes: int = Field(default=0, ge=0, le=LARGEST, validation_alias=AliasChoices("TRAINYARD_PROJECT_BYTES"))
    project_gpu_hours: float = Field(default=0, ge=0, le=1e9, validation_alias=AliasChoices("TRAINYARD_PROJECT_GPU_HOURS"))
    uncontained_code: bool = Field(default=False, validation_alias=AliasChoices("TRAINYARD_UNCONTAINED_CODE"))
    """Run custom modules like the service's own code: only where every user is trusted with the machine."""
    threads: int = Field(default=os.cpu_count() or 1, ge=1, validation_alias=AliasChoices("TRAINYARD_THREADS"))
    """Intra-op threads of a job that names none: part of its numbers, so stored with it."""

    log_format: Literal["text", "json"] = Field(default="text", validation_alias=AliasChoices("TRAINYARD_LOG_FORMAT"))

    @property
    def quota(self) -> Quota:
        """Of projects that have none of their own."""
        return Quota(
            running=self.project_slots, queued=self.project_queued, stored_bytes=self.project_bytes, gpu_hours=self.project_gpu_hours
        )

    @property
    def secrets(self) -> Sequence[str]:
        """What must stand in no log: every secret, and the passwords of URLs, as they stand there and as they are."""
        values = [getattr(self, name) for name in type(self).model_fields]
        passwords = [urlsplit(value).password for value in values if isinstance(value, str) and "://" in value]
        plain = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        return [*plain, *(each for password in passwords if password for each in (password, unquote(password)))]

    @model_validator(mode="before")
    @classmethod
    def _secret_files(cls, values: Any) -> Any:
        return _with_secret_files(values, os.environ)

    @field_validator("redis_url", "broker_url")
    @classmethod
    def _with_certificates(cls, url: str | None, known: ValidationInfo) -> str | None:
        return url and with_certificates(url, **{name: known.data.get(f"redis_{name}") for name in ("ca_file", "cert_file", "key_file")})

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise ValueError("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: give both; or neither, and boto3 looks for a profile or a role")
        files = {"REDIS_CA_FILE": self.redis_ca_file, "REDIS_CERT_FILE": self.redis_cert_file, "REDIS_KEY_FILE": self.redis_key_file}
        given = [name for name, path in files.items() if path is not None]
        if given and not any(url.startswith("rediss:") for url in (self.redis_url, self.broker)):
            raise ValueError(f"{given[0]} is given, but REDIS_URL, redis://, speaks no TLS: write rediss://, or leave {given[0]} out")
        if self.s3_endpoint_url is not None and not re.match(r"https?://[^/]", self.s3_endpoint_url):
            raise ValueError("S3_ENDPOINT_URL is http://HOST:PORT, or https:// where TLS is spoken; leave it out for AWS itself")
        if self.s3_ca_file is not None:
            trusting("S3_CA_FILE", self.s3_ca_file)
        return self

    @property
    def broker(self) -> str:
        """Where the doorbell hangs."""
        return self.broker_url or self.redis_url

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
    s3_public_endpoint_url: str | None = Field(default=None, validation_alias=AliasChoices("S3_PUBLIC_ENDPOINT_URL"))
    """Where users reach storage themselves: files then have a `download_url` there, too."""
    spool_dir: Path = Field(
        default=Path(tempfile.gettempdir()) / f"trainyard-{os.getuid()}", validation_alias=AliasChoices("TRAINYARD_SPOOL_DIR")
    )
    """Where uploads lie until they are in storage, and are unpacked to be looked at."""
    upload_bytes: int = Field(default=10 * 2**30, ge=1, validation_alias=AliasChoices("TRAINYARD_UPLOAD_BYTES"))
    """The most that one uploaded data set may have."""
    hosts: Annotated[tuple[str, ...] | None, NoDecode] = Field(default=None, validation_alias=AliasChoices("TRAINYARD_HOSTS"))
    """The names that it goes by, besides localhost and addresses."""
    streams: int = Field(default=10_000, ge=1, validation_alias=AliasChoices("TRAINYARD_STREAMS"))
    """Event streams and long polls at a time."""
    streams_per_client: int = Field(default=1_000, ge=1, validation_alias=AliasChoices("TRAINYARD_STREAMS_PER_CLIENT"))
    """Of these, from one address."""
    rate_limit: float | None = Field(default=None, ge=0, le=HIGHEST_RATE, validation_alias=AliasChoices("TRAINYARD_RATE_LIMIT"))
    """Requests a second of one key, on the average; 0 sets no limit. None: 1,000, and no limit where no key is needed."""
    rate_burst: int | None = Field(default=None, ge=1, le=LARGEST_BURST, validation_alias=AliasChoices("TRAINYARD_RATE_BURST"))
    """Requests at once; None: as many as two seconds bring."""
    metrics_token: SecretStr | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_METRICS_TOKEN"))
    """Opens `/metrics`, and nothing else."""
    webhooks: bool = Field(default=True, validation_alias=AliasChoices("TRAINYARD_WEBHOOKS"))
    """Whether jobs may say `notify`, and this process sends what there is to tell."""
    webhook_allow: Annotated[Allowed, NoDecode] = Field(default=Allowed(), validation_alias=AliasChoices("TRAINYARD_WEBHOOK_ALLOW"))
    """Networks inside and hosts' names that webhooks may reach, too: 10.0.0.0/8,hooks.lan"""
    webhook_ca_file: Path | None = Field(default=None, validation_alias=AliasChoices("TRAINYARD_WEBHOOK_CA_FILE"))
    """Certificates of authorities (PEM) that receivers are believed by besides the system's."""
    webhook_seconds: float = Field(default=15, gt=0, le=300, validation_alias=AliasChoices("TRAINYARD_WEBHOOK_SECONDS"))
    """How long an attempt may take in all."""
    webhook_pauses: Annotated[tuple[float, ...], NoDecode] = Field(
        default=PAUSES, validation_alias=AliasChoices("TRAINYARD_WEBHOOK_PAUSES")
    )
    """Seconds between attempts, joined by commas; one attempt more than these are made."""
    trusted_proxies: str = Field(default="", validation_alias=AliasChoices("TRAINYARD_TRUSTED_PROXIES"))
    """Addresses and networks, by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed; of all others they are not."""
    require_api_key: bool = Field(default=False, validation_alias=AliasChoices("TRAINYARD_REQUIRE_API_KEY"))
    """Let nobody in without a key; where there is none, the API makes the first and prints it."""

    @field_validator("s3_public_endpoint_url")
    @classmethod
    def _reached(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(r"https?://[^/?#]+/?", value):
            raise ValueError("it is http://HOST:PORT or https://HOST, as users reach storage, without a path")
        return value

    @field_validator("rate_limit")
    @classmethod
    def _slow_enough(cls, value: float | None) -> float | None:
        if value and value < LOWEST_RATE:
            raise ValueError(f"it is requests a second, at least {LOWEST_RATE:g}; 0 sets no limit")
        return value

    @field_validator("webhook_allow", mode="before")
    @classmethod
    def _allowed(cls, value: Any) -> Any:
        return Allowed.parse(value) if isinstance(value, str) else value

    @field_validator("hosts", "webhook_pauses", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [name.strip() for name in value.split(",") if name.strip()] if isinstance(value, str) else value

    @field_validator("webhook_pauses")
    @classmethod
    def _forward(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if not all(0 <= each <= LONGEST_PAUSE for each in value):
            raise ValueError(f"each is from 0 to {LONGEST_PAUSE:.0f} seconds: 5,300,1800")
        return value

    @field_validator("webhook_ca_file")
    @classmethod
    def _there(cls, value: Path | None) -> Path | None:
        if value is not None and not value.is_file():
            raise ValueError(f"{value} is no file: give certificates as PEM")
        return value


def _with_secret_files(values: dict[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
    for name in SECRETS:
        path = environment.get(f"{name}_FILE")
        if path and not environment.get(name):
            try:
                values[name] = Path(path).read_text().strip()
            except OSError as error:
                raise ValueError(f"{name}_FILE names {path}, which cannot be read ({error.strerror})") from error
            if not values[name]:
                raise ValueError(f"{name}_FILE names {path}, which is empty")
    return values
