"""The environment's tokens: those that a service takes, and the one that a client sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TOKEN_VARIABLE = "DRAWPOINT_TOKEN"  # noqa: S105  the name of a variable, not a token


def tokens_in(environment: Mapping[str, str]) -> list[str]:
    """Return the tokens that DRAWPOINT_TOKEN holds, separated by commas or blanks; none where it is blank or unset."""
    return environment.get(TOKEN_VARIABLE, "").replace(",", " ").split()
