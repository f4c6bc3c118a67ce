"""Where the command finds the service: flags, then environment, then file."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.client import config
from service.client.errors import BadRequest


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    """An environment whose XDG_CONFIG_HOME is empty."""
    (tmp_path / "trainyard").mkdir()
    return {"XDG_CONFIG_HOME": str(tmp_path)}


def write(home: dict[str, str], text: str, mode: int = 0o600) -> Path:
    file = config.config_file(home)
    file.write_text(text)
    file.chmod(mode)
    return file


def test_flags_then_environment_then_file_then_default(home: dict[str, str]):
    """Each takes the place of the next, and says where it came from."""
    assert (config.read(home).url.value, config.read(home).url.source) == ("http://127.0.0.1:8000", "default")

    file = write(home, 'url = "http://file:1"\napi_key = "of-the-file"\n')
    assert (config.read(home).url.value, config.read(home).url.source) == ("http://file:1", str(file))
    assert config.read(home).api_key.value == "of-the-file"

    told = home | {"TRAINYARD_URL": "http://environment:1", "TRAINYARD_API_KEY": "of-the-environment"}
    assert (config.read(told).url.value, config.read(told).url.source) == ("http://environment:1", "TRAINYARD_URL")
    assert config.read(told).api_key.source == "TRAINYARD_API_KEY"

    flagged = config.read(told, url="http://flag:1", api_key="of-the-flag")
    assert (flagged.url.value, flagged.url.source, flagged.api_key.value) == ("http://flag:1", "--url", "of-the-flag")


def test_a_key_in_a_file_of_its_own(home: dict[str, str], tmp_path: Path):
    """Named by the environment, or by the file, relative to it."""
    secret = tmp_path / "trainyard" / "key"
    secret.write_text("secret\n")
    secret.chmod(0o600)
    write(home, 'api_key_file = "key"')

    assert config.read(home).api_key == config.Setting(name="api_key", value="secret", source=str(secret))
    assert config.read({"TRAINYARD_API_KEY_FILE": str(secret)}).api_key.value == "secret"
    assert config.read(home).warnings == ()


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_can_read_is_warned_of(home: dict[str, str], mode: int):
    """With the command that mends it."""
    file = write(home, 'api_key = "secret"', mode)

    (warning,) = config.read(home).warnings
    assert f"chmod 600 {file}" in warning
    assert config.read(home, api_key="of-the-flag").warnings == ()


def test_an_address_alone_may_be_read_by_all(home: dict[str, str]):
    """Nothing in it is secret."""
    write(home, 'url = "http://box:8000"', 0o644)

    assert config.read(home).warnings == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("url = http", "no TOML"),
        ('uri = "x"', "Did you mean `url`?"),
        ("url = 1", "`url` is text"),
        ('api_key_file = "none"', "cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(home: dict[str, str], text: str, said: str):
    """Its path, the place, the cure; exit 2."""
    file = write(home, text)

    with pytest.raises(BadRequest, match=r"config.toml|none") as error:
        config.read(home)

    assert said in str(error.value)
    assert error.value.exit_code == 2
    assert str(file.parent) in str(error.value)


def test_a_relative_xdg_config_home_is_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """As the specification says."""
    monkeypatch.setenv("HOME", str(tmp_path))

    assert config.config_file({"XDG_CONFIG_HOME": "here"}) == tmp_path / ".config" / "trainyard" / "config.toml"
