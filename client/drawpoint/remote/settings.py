"""What a connection is told: by the arguments of `connect`, and by the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import httpx

TOKEN_VARIABLE = "DRAWPOINT_TOKEN"  # noqa: S105  the name of a variable, not a token

NOT_SHARED = "give connect() the client's options, or a function of a module that returns it (client=make_client)."


@dataclass(frozen=True)
class ConnectionSettings:
    """The arguments of `connect`; `options` are those of httpx.Client, `client` a ready one or a way to make it."""

    url: str = field(repr=False)
    token: str | None = field(repr=False)
    deadline: float
    client: httpx.Client | Callable[[], httpx.Client] | None = field(repr=False)
    options: Mapping[str, Any] = field(repr=False)
    pid: int = field(default_factory=os.getpid, repr=False)

    @property
    def address(self) -> str:
        """The url without the name and password that it may hold, to be shown."""
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def tokens_in(environment: Mapping[str, str]) -> list[str]:
    """Return the tokens that DRAWPOINT_TOKEN holds, separated by commas or blanks; none where it is blank or unset.

    A service takes any of them, a client sends the first one.
    """
    return environment.get(TOKEN_VARIABLE, "").replace(",", " ").split()
