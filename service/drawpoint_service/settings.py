"""The settings of the service: one frozen object, read once at the edge and passed down."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)

from drawpoint.errors import InvalidSettings, UnknownName
from drawpoint.format.invalid_values import explain
from drawpoint.remote.settings import TOKEN_VARIABLE, tokens_in
from drawpoint_store.storage import BucketAccess, Storage, open_storage
from drawpoint_store.storage.disk_cache import DiskCache
from drawpoint_store.storage.locations import check_location, is_bucket, is_remote, local_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_STORE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def check_store_id(store_id: str) -> str:
    """Return `store_id`; raises ValueError unless it can stand in a URL as it is."""
    if not _STORE_ID.fullmatch(store_id):
        raise ValueError(
            f"store id {store_id!r} is not made of letters, digits, '.', '_' and '-' (64 at most, the first "
            "a letter or digit)"
        )
    return store_id


def _check_token(token: SecretStr) -> SecretStr:
    text = token.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("a token is one or more printable ASCII characters without spaces")
    return token


def _check_tokens(tokens: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
    if not tokens:
        raise ValueError("there is no token in it; name one, or leave it out to let everybody in")
    return tokens


StoreId = Annotated[str, AfterValidator(check_store_id)]
Tokens = Annotated[
    tuple[Annotated[SecretStr, AfterValidator(_check_token)], ...],
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    AfterValidator(_check_tokens),
]


class StoreSettings(BucketAccess):
    """One store to serve, and how its bucket is reached."""

    root: Annotated[str, Field(min_length=1)]
    chunk_cache_bytes: int = Field(default=0, ge=0)
    disk_cache: str | None = None
    disk_cache_bytes: int = Field(default=10 * 2**30, ge=2**20)

    @model_validator(mode="after")
    def _check_storage(self) -> Self:
        check_location(self.root)
        self.check_scheme(self.root)
        if self.disk_cache is not None:
            if not is_bucket(self.root):
                raise ValueError("disk_cache is for stores in buckets")
            if is_remote(self.disk_cache):
                raise ValueError("disk_cache is a folder on this machine, and no URL")
            check_location(self.disk_cache)
        return self

    def open_storage(self) -> Storage:
        """Return the storage that the store lies in."""
        return open_storage(self.root, self)

    def open_disk_cache(self) -> DiskCache | None:
        """Open the cache of the store's bytes on disk, if it is to have one."""
        return None if self.disk_cache is None else DiskCache(local_path(self.disk_cache), self.disk_cache_bytes)


class Settings(BaseModel):
    """Everything that can be set; docs/configuration.md says what each is for."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stores: dict[StoreId, StoreSettings] = {}
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65_535)
    workers: int = Field(default=1, ge=1, le=256)
    token: Tokens = ()
    max_response_bytes: int = Field(default=2**30, ge=1)
    max_batch_samples: int = Field(default=256, ge=1)
    read_threads: int = Field(default=2, ge=1, le=1024)
    max_requests: int = Field(default=64, ge=1)
    memory_bytes: int = Field(default=2**30, ge=1)
    max_connections: int = Field(default=2048, ge=1)
    retry_after_seconds: int = Field(default=1, ge=1)
    cache_seconds: int = Field(default=3600, ge=0)
    revalidate_seconds: float = Field(default=30.0, ge=0)
    ready_timeout_seconds: float = Field(default=5.0, gt=0)
    ready_cache_seconds: float = Field(default=5.0, ge=0)
    drain_seconds: float = Field(default=1.0, ge=0)
    header_seconds: float = Field(default=20.0, gt=0)
    body_seconds: float = Field(default=20.0, gt=0)
    send_seconds: float = Field(default=60.0, gt=0)
    keep_alive_seconds: int = Field(default=75, ge=1)
    shutdown_seconds: int = Field(default=30, ge=1)
    log_level: Literal["debug", "info", "warning", "error"] = "info"


_SECRET = {
    name
    for model in (Settings, StoreSettings)
    for name, field in model.model_fields.items()
    if SecretStr.__name__ in str(field.annotation)
}


def load_settings(config: Path | None, overrides: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """Return the settings of a TOML file, overridden by the environment's token and by `overrides`.

    `overrides` holds what the command line said; its stores are added to those of the file. Raises
    InvalidSettings with one sentence for a file that cannot be read, an unknown key (naming near ones) and a
    value out of bounds.
    """
    values = {} if config is None else _read_toml(local_path(config))
    stores = values.get("stores", {})
    if isinstance(stores, dict):
        stores = {**stores, **overrides.get("stores", {})}
    values = {**values, **overrides, "stores": stores}
    if environment.get(TOKEN_VARIABLE):
        values["token"] = tokens_in(environment)
        if not values["token"]:
            raise InvalidSettings(f"{TOKEN_VARIABLE} is blank; put a token into it, or unset it.")
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        # No cause, for it shows the values, secrets among them.
        raise InvalidSettings(f"{_explain(error)}; see docs/configuration.md.") from None


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # tomllib lets both of the latter through
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidSettings(f"the configuration {path} cannot be read: {reason}.") from error


def _explain(error: ValidationError) -> str:
    for found in error.errors(include_url=False):
        *section, name = map(str, found["loc"])
        if found["type"] == "extra_forbidden":
            model, where = (StoreSettings, f"[{'.'.join(section)}]") if section else (Settings, "the service")
            return str(UnknownName.among("setting", name, model.model_fields, where=where)).removesuffix(".")
        if found["type"] in ("dict_type", "model_type") and found["loc"][0] == "stores":
            return 'stores are given as sections: [stores.ID] with root = "..."'
    return f"setting {explain(error, secret=_SECRET)}"
