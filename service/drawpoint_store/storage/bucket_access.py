"""How a bucket is reached, and what its errors mean. All of it through obstore.

What a storage answers is never quoted: S3 sends signatures and key ids back in its errors, and obstore adds the
endpoint. A reason given here is a status, the storage's own code for it, or what became of the connection.
"""

from __future__ import annotations

import os
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Self
from urllib.parse import quote, unquote

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from drawpoint.errors import InvalidSettings
from drawpoint_store.storage.bounds import LEAST_DOCUMENT_BYTES, default_document_bytes
from drawpoint_store.storage.forks import refuse_fork
from drawpoint_store.storage.locations import BUCKET_SCHEMES, HTTP_SCHEMES, scheme_of

if TYPE_CHECKING:
    import obstore.store

_S3, _GS = ("s3", "s3a"), ("gs",)
_AZURE = tuple(scheme for scheme in BUCKET_SCHEMES if scheme not in (*_S3, *_GS))
_ENDPOINT_VARIABLES = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")

_CONNECT_SECONDS = 5
"""A storage that has not accepted a connection by then is tried again; within a continent it takes 0.3 s."""

_WRITE_SECONDS = 300
"""One request that writes: 5 MB at the 20 kB/s of a bad line. Reads have stall_seconds and deadline_seconds."""

_FIRST_BACKOFF, _MOST_BACKOFF = timedelta(milliseconds=50), timedelta(seconds=5)
"""The first retry comes soon, because most faults are one broken connection; each further one takes twice as long,
with jitter, up to what S3 asks for after SlowDown."""


_URL = re.compile(r"https?://[^\s/?#]+\S*")
_REGION = re.compile(r"[A-Za-z0-9-]+")
_CHECKED = {**dict.fromkeys(_ENDPOINT_VARIABLES, _URL), "AWS_REGION": _REGION, "AWS_DEFAULT_REGION": _REGION}
"""What obstore panics over instead of raising an error, where it is malformed."""


def check_environment() -> None:
    """Raise InvalidSettings for variables that obstore cannot bear; it does not show their values."""
    for name, form in _CHECKED.items():
        value = os.environ.get(name, "")
        if value and not form.fullmatch(value):
            what = "an endpoint such as https://minio.example.org" if form is _URL else "a region such as us-east-1"
            raise InvalidSettings(f"the environment's {name} is not {what}; set it to one, or unset it.")


def _check_url(url: str | None) -> str | None:
    if url is not None and not re.fullmatch(r"https?://[^\s/@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("an endpoint is http:// or https:// and a host, without credentials")
    return url


def _check_region(region: str | None) -> str | None:
    if region is not None and not _REGION.fullmatch(region):
        raise ValueError("a region is made of letters, digits and '-'")
    return region


class BucketAccess(BaseModel):
    """How a root is read: the bound of its documents, and how its bucket is reached.

    What is left out comes from the environment, and from the defaults here. docs/configuration.md says what each is
    for. It pickles with its secrets and never shows them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Annotated[str | None, AfterValidator(_check_url)] = None
    region: Annotated[str | None, AfterValidator(_check_region)] = None
    access_key_id: SecretStr | None = None
    secret_access_key: SecretStr | None = None
    session_token: SecretStr | None = None
    path_style: bool | None = None
    anonymous: bool = False
    account_name: str | None = None
    account_key: SecretStr | None = None
    service_account: str | None = None
    retries: int = Field(default=5, ge=0, le=100)
    stall_seconds: float = Field(default=10.0, gt=0)
    deadline_seconds: float = Field(default=60.0, gt=0)
    bucket_requests: int = Field(default=256, ge=1)
    document_bytes: int = Field(default_factory=default_document_bytes, ge=LEAST_DOCUMENT_BYTES)

    @model_validator(mode="after")
    def _check_pairs(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key go together")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        return self

    def check_scheme(self, root: str) -> None:
        """Raise ValueError for what says how to reach another kind of storage than that of `root`."""
        keys = {
            "endpoint": (*_S3, *_AZURE),
            **dict.fromkeys(("region", "access_key_id", "secret_access_key", "session_token", "path_style"), _S3),
            **dict.fromkeys(("account_name", "account_key"), _AZURE),
            "service_account": _GS,
            **dict.fromkeys(
                ("anonymous", "retries", "stall_seconds", "deadline_seconds", "bucket_requests"), BUCKET_SCHEMES
            ),
        }
        for name, schemes in keys.items():
            if name in self.model_fields_set and scheme_of(root) not in schemes:
                raise ValueError(f"{name} is for roots that begin with {' or '.join(f'{each}://' for each in schemes)}")


def open_client(root: str, access: BucketAccess | None = None, *, read_only: bool = False) -> obstore.store.ObjectStore:
    """Open the obstore client rooted at an object URL; plain http only where the endpoint itself says so.

    Requests are tried again after 429, 5xx, and connections that fail, break or stall. Raises StoreUnreadable in a
    process that was forked from one that has used obstore: its threads are not there, and it would wait for ever.
    Raises InvalidSettings for an endpoint that the environment would override, and for variables that are malformed.
    """
    from obstore.store import from_url  # noqa: PLC0415  only stores in buckets need it

    refuse_fork()
    check_environment()
    access, scheme = access or BucketAccess(), scheme_of(root)
    # obstore unquotes a URL, reads `..` out of `%2e%2e` and ends it at `?` and `#`; to everyone else here it is text.
    bucket, slash, path = root.partition("://")[2].partition("/")
    options: dict[str, Any] = {
        "client_options": _client_options(access, scheme, read_only=read_only),
        "retry_config": {
            "max_retries": access.retries,
            "retry_timeout": timedelta(seconds=access.deadline_seconds),
            "backoff": {"init_backoff": _FIRST_BACKOFF, "max_backoff": _MOST_BACKOFF, "base": 2},
        },
        **_credentials(access, scheme),
    }
    if scheme in HTTP_SCHEMES:  # which people copy from browsers, as they have to be sent
        path = unquote(path)
    client: obstore.store.ObjectStore = from_url(f"{scheme}://{bucket}{slash}{quote(path)}", **options)
    return client


def _client_options(access: BucketAccess, scheme: str, *, read_only: bool) -> dict[str, Any]:
    options: dict[str, Any] = {"connect_timeout": timedelta(seconds=min(_CONNECT_SECONDS, access.deadline_seconds))}
    if read_only:
        options["timeout"] = timedelta(seconds=access.deadline_seconds)
        # Not for writes: it counts the time that a body takes to be sent, too.
        options["read_timeout"] = timedelta(seconds=access.stall_seconds)
    else:
        options["timeout"] = timedelta(seconds=_WRITE_SECONDS)
    variables = _ENDPOINT_VARIABLES if scheme in _S3 else ()
    named = (os.environ.get(name, "") for name in variables)
    if scheme == "http" or (access.endpoint or next(filter(None, named), "")).startswith("http://"):
        options["allow_http"] = True
    return options


def _credentials(access: BucketAccess, scheme: str) -> dict[str, Any]:
    """Return obstore's options for what `access` says; what it does not say obstore takes from the environment."""
    options: dict[str, Any] = {}
    if access.endpoint is not None:
        options["endpoint"] = access.endpoint
        if scheme in _S3 and os.environ.get(_ENDPOINT_VARIABLES[0], access.endpoint) != access.endpoint:
            raise InvalidSettings(
                f"the environment's {_ENDPOINT_VARIABLES[0]} would win over the endpoint of the store; unset it, or "
                f"name the environment's endpoint in {_ENDPOINT_VARIABLES[1]}."
            )
    if access.region is not None:
        options["region"] = access.region
    if access.path_style is not None:
        options["virtual_hosted_style_request"] = not access.path_style
    if access.anonymous:
        options["skip_signature"] = True
    if access.account_name is not None:
        options["account_name"] = access.account_name
    if access.account_key is not None:
        options["account_key"] = access.account_key.get_secret_value()
    if access.service_account is not None:
        options["service_account"] = access.service_account
    if access.access_key_id is not None and access.secret_access_key is not None:
        token = access.session_token
        held = {
            "access_key_id": access.access_key_id.get_secret_value(),
            "secret_access_key": access.secret_access_key.get_secret_value(),
            "token": None if token is None else token.get_secret_value(),
            "expires_at": None,
        }
        # Not as options: a session token of the environment would be added to these keys.
        options["credential_provider"] = lambda: held
    return options


def explain(error: BaseException) -> str:
    """Return why a storage gave no answer, as half a sentence that holds nothing of what it was asked or sent."""
    text = str(error)
    code = re.search(r"<Code>(\w{1,64})</Code>", text)
    status = re.search(r"status code: (\d{3}(?: [A-Z][A-Za-z]*)*)", text)
    if "169.254." in text or "metadata.google" in text:
        return "there are no credentials for it; set those of the environment or of the store (docs/buckets.md)"
    if status is not None:
        remedy = "; check the credentials" if status[1].startswith(("401", "403")) else ""
        return f"the storage answers {status[1]}" + (f" ({code[1]})" if code is not None else "") + remedy
    kind = re.search(r"kind: (Timeout|Connect|Interrupted|Decode)", text)
    if isinstance(error, TimeoutError) or (kind is not None and kind[1] == "Timeout"):
        return "the storage does not answer in time"
    if kind is not None:
        return (
            "the storage cannot be reached; check the endpoint" if kind[1] == "Connect" else "the connection breaks off"
        )
    if type(error).__module__.startswith("obstore"):
        return "the storage gives no usable answer"
    return re.sub(r"\?\S+", "", (text.strip().splitlines() or [type(error).__name__])[0]).rstrip(".")


def is_missing_bucket(error: BaseException) -> bool:
    """Tell whether the bucket itself is not there, which says nothing of what it holds."""
    return any(f"<Code>{code}</Code>" in str(error) for code in ("NoSuchBucket", "ContainerNotFound"))  # S3, Azure


def is_beyond_end(error: BaseException) -> bool:
    """Tell whether the object ends before the range that was asked of it begins."""
    return "status code: 416" in str(error)
