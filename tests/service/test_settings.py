"""Settings: read once, strict, and all of them documented."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from drawpoint.errors import InvalidSettings
from drawpoint.remote.settings import TOKEN_VARIABLE
from drawpoint_service.settings import Settings, StoreSettings, load_settings
from drawpoint_store import StoreManifest

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "configuration.md"


def load(tmp_path: Path, toml: str, *, environment: dict[str, str] | None = None, **overrides: Any) -> Settings:
    config = tmp_path / "drawpoint.toml"
    config.write_text(toml)
    return load_settings(config, overrides, environment or {})


def tokens_of(settings: Settings) -> list[str]:
    return [token.get_secret_value() for token in settings.token]


def test_the_command_line_overrides_the_file_and_adds_to_its_stores(tmp_path: Path) -> None:
    toml = 'port = 9000\n[stores.a]\nroot = "old"\n[stores.b]\nroot = "kept"\n'
    settings = load(tmp_path, toml, port=1, stores={"a": {"root": "new"}, "c": {"root": "added"}})
    assert settings.port == 1
    assert {store_id: store.root for store_id, store in settings.stores.items()} == {
        "a": "new",
        "b": "kept",
        "c": "added",
    }


@pytest.mark.parametrize(
    ("text", "tokens"), [("one", ["one"]), ("one,two three", ["one", "two", "three"]), ("", ["f"])]
)
def test_the_environment_overrides_the_token(tmp_path: Path, text: str, tokens: list[str]) -> None:
    assert tokens_of(load(tmp_path, 'token = "f"', environment={TOKEN_VARIABLE: text})) == tokens


@pytest.mark.parametrize("blank", [" ", ",", " ,\t"])
def test_a_blank_variable_is_no_reason_to_let_everybody_in(tmp_path: Path, blank: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{TOKEN_VARIABLE} is blank"):
        load(tmp_path, 'token = "f"', environment={TOKEN_VARIABLE: blank})


def test_tokens_are_not_shown(tmp_path: Path) -> None:
    settings = load(tmp_path, 'token = "secret"')
    assert "secret" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, 'token = "se cret"')
    assert "cret" not in str(caught.value).replace("secret", "").replace("a token is", "")
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("toml", "sentences"),
    [
        ("prot = 1", ["the service has no setting 'prot'", "near names: port"]),
        ('[stores.a]\nroot = "x"\nrot = "y"', ["[stores.a] has no setting 'rot'", "near names: root"]),
        ("[stores.a]\n", ["stores.a.root", "required"]),
        ('[stores]\na = "x"', ["stores are given as sections: [stores.ID]"]),
        ('stores = "x"', ["stores are given as sections: [stores.ID]"]),
        ('[stores."a/b"]\nroot = "x"', ["store id 'a/b' is not made of letters"]),
        ("port = 70000", ["setting port: it must be at most 65535, not 70000; see docs/configuration.md."]),
        ("[stores.a]\nroot = ''", ["setting stores.a.root: it must be of length 1 or more, not '';"]),
        ('token = ["a b"]', ["a token is one or more printable ASCII characters"]),
        ('token = " "', ["a token is one or more printable ASCII characters"]),
        ("token = []", ["setting token", "no token in it", "leave it out"]),
        ('log_level = "loud"', ["log_level", "'debug', 'info'"]),
        ("port = ", ["cannot be read", "Invalid value"]),
        (f"port = {'9' * 5000}", ["cannot be read", "4300 digits"]),
        (f"port = {'[' * 5000}", ["cannot be read"]),
        ('[stores.a]\nroot = "s3:/b/c"', ["'s3:/b/c' is neither path nor URL; the URL is s3://b/c"]),
        ('[stores.a]\nroot = "~nobody-here/c"', ["a user who is not known here"]),
        ('[stores.a]\nroot = "s3:///b/c"', ["names no bucket; write s3://b/c"]),
        ('[stores.a]\nroot = "s3://b/c"\ndisk_cache = "s3://b/cache"', ["a folder on this machine, and no URL"]),
    ],
)
def test_an_invalid_setting_is_refused_in_a_sentence(tmp_path: Path, toml: str, sentences: list[str]) -> None:
    with pytest.raises(InvalidSettings) as caught:
        load(tmp_path, toml)
    for sentence in sentences:
        assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG = ["x", "", -1, 0, 2**70, 1.5, math.nan, True, [], ["x"], [[1]], {}, {"x": 1}, dt.date(2026, 1, 1)]


@pytest.mark.parametrize(
    "name", sorted(Settings.model_fields.keys() - {"stores"} | {f"a.{name}" for name in StoreSettings.model_fields})
)
def test_whatever_is_refused_is_named_in_our_own_words(name: str) -> None:
    refused = []
    for value in WRONG:
        of_store = {"a": {"root": "s3://b/c", name.removeprefix("a."): value}}
        try:
            load_settings(None, {"stores": of_store} if name.startswith("a.") else {name: value}, {})
        except InvalidSettings as error:
            refused.append(str(error))
    assert refused
    for words in refused:
        assert re.match(rf"setting (stores\.)?({re.escape(name)}(\.\d)?|a): ", words)
        assert not re.search("Input|Field|valid |Unable|instance|dictionary|iterable|tuple|another value", words)


@pytest.mark.parametrize(
    "value", [47112, "hun 47112", ["hun 47112"], [["hun47112"]], {"x": "hun47112"}, [1, "hun 47112"]], ids=repr
)
@pytest.mark.parametrize("name", ["token", "access_key_id", "secret_access_key", "session_token", "account_key"])
def test_a_secret_that_is_refused_is_not_shown(name: str, value: Any) -> None:
    store = {"a": {"root": "s3://b/c"} | ({} if name == "token" else {name: value})}
    with pytest.raises(InvalidSettings, match="see docs") as caught:
        load_settings(None, {"stores": store} | ({"token": value} if name == "token" else {}), {})
    assert "47112" not in f"{caught.value} {caught.value.__cause__}"


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettings, match=r"nothing\.toml cannot be read: No such file or directory\."):
        load_settings(tmp_path / "nothing.toml", {}, {})


def test_every_setting_is_documented_with_its_default() -> None:
    text = DOCUMENT.read_text()
    names = [*Settings.model_fields, *(f"stores.ID.{name}" for name in StoreSettings.model_fields)]
    assert [name for name in names if f"| `{name}` |" not in text] == []
    assert TOKEN_VARIABLE in text
    for name, field in Settings.model_fields.items():
        default = f"`{json.dumps(field.default)}`" if field.default else "none"
        assert f"| `{name}` | {default} |" in text


def test_the_documented_file_can_be_read(tmp_path: Path) -> None:
    block = re.search(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
    assert block is not None
    settings = load(tmp_path, block[1])
    assert settings.model_dump(exclude_unset=True) == tomllib.loads(block[1])


def test_roots_and_folders_below_home_are_found(
    tmp_path: Path, store_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "store").symlink_to(store_root)
    toml = '[stores.a]\nroot = "~/store"\n[stores.b]\nroot = "s3://b/c"\ndisk_cache = "~/cache"\n'
    (tmp_path / "drawpoint.toml").write_text(toml)
    settings = load_settings(Path("~/drawpoint.toml"), {}, {})
    assert len(StoreManifest.load(settings.stores["a"].open_storage()).samples) == 2
    assert settings.stores["b"].open_disk_cache() is not None
    assert (tmp_path / "cache").is_dir()
