"""Addresses in storage that are handed out: of one object, for a while, under the name by which users reach storage; on two real S3 servers."""

from __future__ import annotations

from urllib.parse import parse_qs, quote, urlsplit

import httpx2
import pytest

from service.adapters import s3_links
from service.adapters.memory import MemoryArtifacts
from service.adapters.s3_artifacts import S3Artifacts
from service.adapters.s3_links import S3Links
from service.adapters.stores import Stores
from service.api import files
from service.jobs.layout import artifacts_prefix
from service.settings import ApiSettings, SettingsFault
from tests.e2e.stack import until
from tests.integration.steps import SUCCEEDED, NewJob, claim, submit
from tests.integration.test_s3 import another
from tests.servers import S3Server
from tests.services import services_of

KEY, BODY = "projects/red/jobs/job_1/attempts/7/artifacts/plots/kürve 1.html", b"<script>alert(1)</script>"


@pytest.fixture(params=["s3", pytest.param("nanio", marks=another)])
def server(request: pytest.FixtureRequest) -> S3Server:
    """With the object in its bucket."""
    return holding(request.getfixturevalue(request.param))


def holding(server: S3Server) -> S3Server:
    store = S3Artifacts(settings_of(server))
    store.ensure_bucket()
    store.put_bytes(KEY, BODY, content_type="text/html")
    return server


def settings_of(server: S3Server) -> ApiSettings:
    return ApiSettings(s3_endpoint_url=server.endpoint_url, aws_access_key_id=server.access_key, aws_secret_access_key=server.secret_key)


def links_of(server: S3Server, *, seconds: int = 60) -> S3Links:
    """As users see the server: by another name than the service does."""
    return S3Links(settings_of(server), outside(server), seconds=seconds)


def outside(server: S3Server) -> str:
    return server.endpoint_url.replace("127.0.0.1", "localhost")


def status(url: str) -> int:
    return httpx2.get(url, trust_env=False).status_code


def test_whoever_has_it_gets_the_object_as_a_file(server: S3Server):
    """What custom code wrote is shown by no browser as a page of storage's."""
    url = links_of(server).to(KEY, content_type="text/html")

    answer = httpx2.get(url, trust_env=False)
    part = httpx2.get(url, headers={"Range": "bytes=0-7"}, trust_env=False)

    assert (answer.status_code, answer.content) == (200, BODY)
    assert part.content == BODY[:8]  # rclone calls it 200
    assert urlsplit(url).hostname == "localhost"
    assert parse_qs(urlsplit(url).query)["response-content-disposition"] == [f"attachment; filename*=UTF-8''{quote('kürve 1.html')}"]


def test_it_opens_nothing_else(server: S3Server):
    """Not another object, not under another name of the server, not without its signature, and not for writing."""
    S3Artifacts(settings_of(server)).put_bytes(KEY.replace("/red/", "/blue/"), b"theirs")
    url = links_of(server).to(KEY, content_type="text/html")

    assert status(url) == 200
    assert status(url.replace("/red/", "/blue/")) == 403
    assert status(url.replace("//localhost", "//127.0.0.1")) == 403
    assert status(url.partition("?")[0]) in (400, 403)
    assert status(url.replace("text%2Fhtml", "text%2Fplain")) == 403
    assert httpx2.put(url, content=b"mine", trust_env=False).status_code == 403
    assert httpx2.delete(url, trust_env=False).status_code == 403
    assert status(url) == 200


@another
def test_it_is_over_after_a_while(nanio: S3Server):
    """Storage has to see to that; rclone's server, which `trainyard up` starts, does not (docs/security.md)."""
    url = links_of(holding(nanio), seconds=1).to(KEY, content_type="text/html")

    until(lambda: status(url) == 403, seconds=20)


def test_a_manifest_has_them_where_users_reach_storage(stores: Stores, new_job: NewJob):
    """Each file's is of the job's own attempt; without the setting there is none."""
    artifacts = MemoryArtifacts()
    job = submit(stores, new_job(project="red"))
    held = claim(stores)
    prefix = artifacts_prefix("red", job.id, held.token)
    manifest = b'{"files": [{"path": "a.txt", "size": 1, "sha256": "00", "content_type": "text/plain"}]}'
    artifacts.put_bytes(f"{prefix}manifest.json", manifest)
    stores.attempts.finish(held, SUCCEEDED)

    class Shown:
        turn = 1

        def to(self, key: str, *, content_type: str) -> str:
            return f"https://outside/{key}?{content_type}"

    def told(links: Shown | None) -> list[str | None]:
        answer = files.list_artifacts(job.id, "red", services_of(stores, artifacts=artifacts, links=links))
        return [file.download_url for file in files.ArtifactPage.model_validate_json(bytes(answer.body)).data]

    assert told(Shown()) == [f"https://outside/{prefix}a.txt?text/plain", f"https://outside/{prefix}manifest.json?application/json"]
    assert told(None) == [None, None]


def test_a_remembered_answer_is_made_again_before_its_addresses_are_over(server: S3Server, monkeypatch: pytest.MonkeyPatch):
    """At least twice as much is left of each as an answer is given again."""
    links, now = links_of(server), 1_000_000_000.0
    monkeypatch.setattr(s3_links.time, "time", lambda: now)
    first = links.turn
    now += s3_links.TURN_SECONDS

    assert links.turn == first + 1
    assert s3_links.SECONDS >= 3 * s3_links.TURN_SECONDS


@pytest.mark.parametrize("address", ["stores.example", "ftp://stores.example", "https://stores.example/trainyard", "https://"])
def test_an_address_that_is_none_is_refused_at_the_start(address: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("S3_PUBLIC_ENDPOINT_URL", address)

    with pytest.raises(SettingsFault, match=r"S3_PUBLIC_ENDPOINT_URL.*http://HOST:PORT or https://HOST"):
        ApiSettings.read()
