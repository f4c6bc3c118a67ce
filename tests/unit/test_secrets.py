"""The secrets of the containers' parts: made once, each where it is needed, and kept."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from service import secrets
from service.secrets import SecretsFault

NEEDED = {
    "api": {"redis_url", "broker_url", "s3_access_key", "s3_secret_key", "metrics_token", "api_key"},
    "worker": {"redis_url", "broker_url", "s3_access_key", "s3_secret_key"},
    "redis": {"users.acl"},
    "minio": {"root_user", "root_password"},
    "monitor": {"broker_url", "metrics_token"},
}


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_each_part_has_what_it_needs_and_no_more(tmp_path: Path):
    made = secrets.make(tmp_path)

    assert made == NEEDED["api"]
    assert {part.name: {file.name for file in part.iterdir()} for part in tmp_path.iterdir()} == NEEDED
    found = contents(tmp_path)
    assert found["minio/root_password"] == found["api/s3_secret_key"] == found["worker/s3_secret_key"]
    assert secrets.api_key(tmp_path) == found["api/api_key"]


def test_only_their_owner_reads_them(tmp_path: Path):
    secrets.make(tmp_path)

    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o400}
    assert {stat.S_IMODE(part.stat().st_mode) for part in tmp_path.iterdir()} == {0o700}


def test_redis_learns_no_password(tmp_path: Path):
    """Its file has digests."""
    secrets.make(tmp_path)

    found = contents(tmp_path)
    for name in ("redis_url", "broker_url"):
        password = found[f"api/{name}"].split(":")[2].partition("@")[0]
        assert len(password) == 48
        assert password not in found["redis/users.acl"]


def test_a_second_call_changes_nothing(tmp_path: Path):
    secrets.make(tmp_path)
    before = contents(tmp_path)

    assert secrets.make(tmp_path) == frozenset()
    assert contents(tmp_path) == before


def test_two_houses_share_no_secret(tmp_path: Path):
    secrets.make(tmp_path / "one")
    secrets.make(tmp_path / "other")

    assert set(contents(tmp_path / "one").values()).isdisjoint(contents(tmp_path / "other").values())


def test_what_one_part_lost_it_gets_again_from_the_others(tmp_path: Path):
    secrets.make(tmp_path)
    before = contents(tmp_path)
    for name in ("worker/redis_url", "minio/root_password", "redis/users.acl"):
        (tmp_path / name).unlink()

    assert secrets.make(tmp_path) == frozenset()
    assert contents(tmp_path) == before


def test_an_operators_own_stay(tmp_path: Path):
    """Another Redis and another S3: everybody gets them, and the Redis here lets in nobody for them."""
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "redis_url").write_text("rediss://me:mine@stores.example:6380/0\n")
    (tmp_path / "api" / "s3_secret_key").write_text("theirs")

    assert secrets.make(tmp_path) == {"broker_url", "s3_access_key", "metrics_token", "api_key"}
    found = contents(tmp_path)
    assert found["worker/redis_url"] == "rediss://me:mine@stores.example:6380/0"
    assert found["worker/s3_secret_key"] == found["minio/root_password"] == "theirs"
    assert [line.split()[1] for line in found["redis/users.acl"].splitlines()] == ["default", "health", "trainyard-broker"]


def test_two_that_have_to_be_equal_and_are_not_are_named(tmp_path: Path):
    secrets.make(tmp_path)
    (tmp_path / "worker" / "s3_secret_key").unlink()
    (tmp_path / "worker" / "s3_secret_key").write_text("another")

    with pytest.raises(SecretsFault, match=r"api/s3_secret_key and .*worker/s3_secret_key have to be equal"):
        secrets.make(tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("api/redis_url", "redis://:only-a-password@redis:6379/0", "redis_url has to be redis://trainyard-store:PASSWORD@redis"),
        ("api/broker_url", "redis://trainyard-store:p@redis:6379/0", "broker_url has to be redis://trainyard-broker:"),
        ("api/api_key", "\n", "api_key is empty"),
        ("api/api_key/folder", "", "api_key cannot be read"),
    ],
)
def test_what_cannot_be_used_is_said_with_the_cure(tmp_path: Path, name: str, text: str, said: str):
    secrets.make(tmp_path)
    for part in ("api", "worker", "monitor"):
        (tmp_path / part / name.split("/")[1]).unlink(missing_ok=True)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)

    with pytest.raises(SecretsFault, match=said):
        secrets.make(tmp_path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path):
    (tmp_path / "api").write_text("a file")

    with pytest.raises(SecretsFault, match=r"api/redis_url cannot be read .* has to belong to user"):
        secrets.make(tmp_path)


def test_the_command_prints_a_new_key_once(tmp_path: Path):
    """On stdout, alone; afterwards nothing."""
    command = [sys.executable, "-m", "service.client.cli", "secrets", str(tmp_path)]
    first, second = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(2))

    assert first.stdout.strip() == (tmp_path / "api" / "api_key").read_text()
    assert second.stdout == ""
    assert "already" in second.stderr


def test_the_command_says_what_is_wrong(tmp_path: Path):
    """One line with the place, and exit code 1."""
    (tmp_path / "api").write_text("a file")

    done = subprocess.run(
        [sys.executable, "-m", "service.client.cli", "secrets", str(tmp_path)], capture_output=True, text=True, check=False
    )

    assert (done.returncode, done.stdout) == (1, "")
    assert f"trainyard secrets: {tmp_path / 'api' / 'redis_url'} cannot be read" in done.stderr
