"""Settings that cannot work: each ends the start with one line that names the variable and the cure. Real servers, real certificates."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from service.adapters.celery_doorbell import CeleryDoorbell, celery_app
from service.adapters.redis_jobs import connect
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.s3_faults import refused
from service.local import free_port
from service.settings import SettingsFault, StoreSettings
from service.startup import NotReady, await_parts
from tests.certificates import Authority, Signed, self_signed, terminated
from tests.integration.test_s3 import another
from tests.servers import GuardedValkey, S3Server, guarded_valkey, running_s3

Starts = Callable[..., str]
OURS = ("REDIS_", "S3_", "AWS_", "TRAINYARD_")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Whom clients are told to trust."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def good(authority: Authority) -> Signed:
    """A certificate as it should be."""
    return authority.sign("good")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedValkey]:
    """A Valkey that wants a name and a password."""
    with guarded_valkey(tmp_path_factory.mktemp("guarded")) as running:
        yield running


@pytest.fixture
def starts(redis_url: str, s3: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Starts:
    """Start as both processes do, with these variables besides; answers the line that they would end with, or an empty one."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def start(**variables: str) -> str:
        for name, value in {"REDIS_URL": redis_url, **s3.environment(), **variables}.items():
            monkeypatch.setenv(name, value)
        try:
            settings = StoreSettings.read()
            stores, doorbell = connect(settings.redis_url, socket_seconds=2), CeleryDoorbell(celery_app(settings.broker))
            parts = {
                "REDIS_URL": stores.ping,
                "TRAINYARD_BROKER_URL": doorbell.ping,
                "S3_ENDPOINT_URL": S3Artifacts(settings).ensure_bucket,
            }
            await_parts(parts, seconds=0)
        except (SettingsFault, NotReady) as error:
            return str(error)
        return ""

    return start


@pytest.fixture(params=["expired", "self-signed", "another's", "of another host"])
def bad(request: pytest.FixtureRequest, authority: Authority, tmp_path: Path) -> tuple[Signed, str]:
    """A certificate that will not do, and what is to be said of it."""
    match request.param:
        case "expired":
            return authority.sign("expired", days=-1), "has expired: renew it there"
        case "self-signed":
            return self_signed(tmp_path), "name the file of its CA in {ca}"
        case "another's":
            return Authority(tmp_path / "another").sign("good"), "name the file of its CA in {ca}"
        case _:
            return authority.sign("elsewhere", "DNS:elsewhere.example"), "write a name in {url} that the certificate has"


def test_what_is_right_starts(starts: Starts, redis_url: str, s3: S3Server, authority: Authority, good: Signed) -> None:
    """Else the rest of this file would prove nothing."""
    ca = {"REDIS_CA_FILE": str(authority.certificate), "S3_CA_FILE": str(authority.certificate)}
    with terminated(port_of(redis_url), good) as redis_port, terminated(port_of(s3.endpoint_url), good) as s3_port:
        secure = {"REDIS_URL": f"rediss://localhost:{redis_port}/0", "S3_ENDPOINT_URL": f"https://localhost:{s3_port}"}

        assert starts(**secure, **ca) == ""


def test_a_certificate_of_redis_that_will_not_do(starts: Starts, redis_url: str, authority: Authority, bad: tuple[Signed, str]) -> None:
    """The store's and the broker's."""
    signed, said = bad
    with terminated(port_of(redis_url), signed) as port:
        url, ca = f"rediss://localhost:{port}/0", str(authority.certificate)

        store = starts(REDIS_URL=url, REDIS_CA_FILE=ca)
        broker = starts(REDIS_URL=redis_url, TRAINYARD_BROKER_URL=url, REDIS_CA_FILE=ca)

    assert said.format(ca="REDIS_CA_FILE", url="REDIS_URL") in store
    assert said.format(ca="REDIS_CA_FILE", url="TRAINYARD_BROKER_URL (else REDIS_URL)") in broker
    assert "\n" not in store + broker


def test_a_certificate_of_storage_that_will_not_do(starts: Starts, s3: S3Server, authority: Authority, bad: tuple[Signed, str]) -> None:
    """As for Redis."""
    signed, said = bad
    with terminated(port_of(s3.endpoint_url), signed) as port:
        line = starts(S3_ENDPOINT_URL=f"https://localhost:{port}", S3_CA_FILE=str(authority.certificate))

    assert said.format(ca="S3_CA_FILE", url="S3_ENDPOINT_URL") in line


def test_tls_where_none_is_spoken_and_the_other_way_round(
    starts: Starts, redis_url: str, s3: S3Server, authority: Authority, good: Signed
) -> None:
    """The scheme is named that would do."""
    ca = str(authority.certificate)
    with terminated(port_of(redis_url), good) as redis_port, terminated(port_of(s3.endpoint_url), good) as s3_port:
        plain = starts(REDIS_URL=f"redis://localhost:{redis_port}/0")
        plain_s3 = starts(REDIS_URL=redis_url, S3_ENDPOINT_URL=f"http://localhost:{s3_port}")
    secure = starts(REDIS_URL=redis_url.replace("redis:", "rediss:"), REDIS_CA_FILE=ca)
    secure_s3 = starts(REDIS_URL=redis_url, REDIS_CA_FILE="", S3_ENDPOINT_URL=s3.endpoint_url.replace("http:", "https:"))

    assert "Where TLS is spoken REDIS_URL is rediss://." in plain
    assert "where no TLS is spoken it is redis://." in secure
    assert "Where TLS is spoken S3_ENDPOINT_URL is https://." in plain_s3
    assert "No TLS is spoken there: write http:// in S3_ENDPOINT_URL" in secure_s3


def test_a_server_that_wants_a_certificate_of_ours(starts: Starts, redis_url: str, authority: Authority, good: Signed) -> None:
    """It is let in with one, and told which variables name it without."""
    with terminated(port_of(redis_url), good, clients=authority.certificate) as port:
        url, ca = f"rediss://localhost:{port}/0", str(authority.certificate)

        without = starts(REDIS_URL=url, REDIS_CA_FILE=ca)
        shown = starts(REDIS_URL=url, REDIS_CA_FILE=ca, REDIS_CERT_FILE=str(good.certificate), REDIS_KEY_FILE=str(good.key))

    assert "REDIS_CERT_FILE and REDIS_KEY_FILE" in without
    assert shown == ""


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("{broker}", "The user of REDIS_URL lacks a right"),
        ("redis://trainyard-store:wrong@127.0.0.1:{port}/0", "does not know that user and password: correct REDIS_URL"),
        ("redis://127.0.0.1:{port}/0", "does not know that user and password: correct REDIS_URL"),
        ("redis://nowhere.invalid:{port}/0", "There is no host of that name: correct REDIS_URL."),
        ("redis://127.0.0.1:1/0", "Nobody listens there: start the server, or correct REDIS_URL."),
        ("https://127.0.0.1:{port}", "a Redis is named by redis://USER:PASSWORD@HOST:PORT/0"),
    ],
)
def test_a_redis_that_is_not_so(starts: Starts, guarded: GuardedValkey, url: str, said: str) -> None:
    """Another user's name, a wrong password, none, a wrong host, a wrong port."""
    line = starts(REDIS_URL=url.format(port=guarded.port, broker=guarded.broker_url), TRAINYARD_BROKER_URL=guarded.broker_url)

    assert said in line
    assert "wrong@" not in line


def test_a_broker_that_is_not_so(starts: Starts, guarded: GuardedValkey) -> None:
    """The store's user cannot ring."""
    line = starts(REDIS_URL=guarded.store_url, TRAINYARD_BROKER_URL=guarded.store_url)

    assert "The user of TRAINYARD_BROKER_URL (else REDIS_URL) lacks a right" in line
    assert starts(REDIS_URL=guarded.store_url, TRAINYARD_BROKER_URL=guarded.broker_url) == ""


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_ACCESS_KEY_ID": "other"}, "correct AWS_ACCESS_KEY_ID."),
        ({"AWS_SECRET_ACCESS_KEY": "other"}, "correct AWS_SECRET_ACCESS_KEY."),
        ({"AWS_ACCESS_KEY_ID": ""}, "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY: give both"),
        ({"S3_ENDPOINT_URL": "http://nowhere.invalid:1"}, "There is no host of that name: correct S3_ENDPOINT_URL."),
        ({"S3_ENDPOINT_URL": "http://127.0.0.1:1"}, "Nobody listens there: start the server, or correct S3_ENDPOINT_URL."),
        ({"S3_ENDPOINT_URL": "minio:9000"}, "S3_ENDPOINT_URL is http://HOST:PORT"),
        ({"S3_CA_FILE": "/nowhere.pem"}, "S3_CA_FILE names /nowhere.pem, which cannot be read (No such file or directory)"),
        ({"S3_CA_FILE": "/etc/hostname"}, "S3_CA_FILE names /etc/hostname, which is no certificate in PEM"),
        ({"REDIS_CA_FILE": "/etc/hostname"}, "REDIS_CA_FILE is given, but REDIS_URL, redis://, speaks no TLS"),
        ({"S3_ADDRESSING": "dns"}, "S3_ADDRESSING: Input should be 'path' or 'virtual'"),
    ],
)
def test_a_storage_that_is_not_so(starts: Starts, variables: dict[str, str], said: str) -> None:
    """Wrong keys, wrong places, files that are none."""
    assert said in starts(**variables)


@pytest.mark.parametrize("server", ["s3", pytest.param("nanio", marks=another)])
def test_a_clock_that_is_off_is_called_so(
    request: pytest.FixtureRequest, starts: Starts, monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    """A machine three hours behind: servers name it differently, the line is the same."""
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda: datetime.now(UTC) - timedelta(hours=3))

    assert "This machine's clock is not the server's" in starts(**request.getfixturevalue(server).environment())


def test_a_bucket_that_is_not_there_and_cannot_be_made(starts: Starts, tmp_path: Path) -> None:
    """A server that lets nobody make one."""
    with running_s3(tmp_path / "s3", "--read-only") as server:
        line = starts(**server.environment(), S3_BUCKET="missing")

    assert "There is no bucket 'missing'" in line
    assert line.endswith("Make it, or correct S3_BUCKET.")


def test_a_bucket_of_another_region() -> None:
    """As AWS and MinIO answer: neither server at hand looks at the region."""
    answer = {"Error": {"Code": "AuthorizationHeaderMalformed", "Region": "eu-west-1"}, "ResponseMetadata": {"HTTPStatusCode": 400}}

    line = str(refused(ClientError(answer, "HeadBucket"), "AWS"))  # type: ignore[arg-type]  # what matters of it

    assert line.endswith("The bucket is in another region: correct AWS_REGION, to eu-west-1.")


@pytest.mark.parametrize("module", ["service.main", "worker.main"])
def test_the_processes_end_with_that_line(module: str, redis_url: str, s3: S3Server, good: Signed, tmp_path: Path) -> None:
    """Exit code 1, one line, no traceback; with a certificate whose CA nobody named."""
    with terminated(port_of(redis_url), good) as port:
        environment = {**os.environ, **s3.environment(), "REDIS_URL": f"rediss://localhost:{port}/0", "TRAINYARD_WORK_DIR": str(tmp_path)}
        environment["TRAINYARD_PORT"] = str(free_port())
        done = subprocess.run([sys.executable, "-m", module], env=environment, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert line.startswith(f"trainyard {'api' if module == 'service.main' else 'worker'}: Redis does not answer (REDIS_URL)")
    assert line.endswith("name the file of its CA in REDIS_CA_FILE.")


def port_of(url: str) -> int:
    """The port of a URL of this machine's."""
    return int(url.split(":")[2].split("/", maxsplit=1)[0])
