"""Seeds: one integer in 0..2**63-1 names a draw, wherever it is made."""

from __future__ import annotations

import hashlib
import json
import operator
import secrets
from typing import TYPE_CHECKING

from drawpoint.errors import InvalidDraw
from drawpoint.extras import importing

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1
_WORTH_PRINTING = 2**128


def check_seed(seed: int) -> int:
    """Return `seed` as an int; raises InvalidDraw unless it is an integer in 0..2**63-1."""
    return check_integer("seed", seed)


def check_part(part: int) -> int:
    """Return `part` as an int; raises InvalidDraw unless it is an integer in 0..2**63-1."""
    return check_integer("part", part)


def check_count(domain: str, count: int) -> int:
    """Return the point count of `domain` as an int; raises InvalidDraw unless it is an integer >= 1."""
    return check_integer(f"the point count of {domain!r}", count, 1)


def check_integer(what: str, value: int, low: int = 0, high: int = MAX_SEED) -> int:
    """Return `value` as an int; raises InvalidDraw, which names it as `what`, unless it is an integer in low..high."""
    try:
        number = operator.index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not low <= number <= high:
        # Python prints no integer of more than 4,300 digits.
        huge = number is not None and abs(number) > _WORTH_PRINTING
        shown = f"one of {number.bit_length()} bits" if number is not None and huge else repr(value)[:200]
        raise InvalidDraw(f"{what} must be an integer in {low}..{high}, not {shown}.")
    return number


def fresh_seed() -> int:
    """Return a seed from the operating system's entropy."""
    return secrets.randbits(63)


def derive_seed(*name: str | int) -> int:
    """Return the seed that `name` stands for: 63 bits of the BLAKE2b digest of its compact JSON.

    Sums such as seed + epoch name one draw twice: epoch 1 of seed 0 is epoch 0 of seed 1.
    """
    text = json.dumps(name, separators=(",", ":")).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little") >> 1


def resolve_seed(seed: int | None, generator: torch.Generator | None, part: int | None = None) -> int:
    """Return the seed of a draw: `seed`, or else one from `generator`, or else fresh entropy.

    A generator advances by exactly one draw, also where `seed` overrides it, so that its state after a call
    depends on the number of calls alone. Raises InvalidDraw for a seed that is no integer in 0..2**63-1, and for a
    part without a seed.
    """
    drawn = None
    if generator is not None:
        with importing("client", "a generator"):
            import torch  # noqa: PLC0415  only who passes a torch generator needs torch

        if not isinstance(generator, torch.Generator):
            raise InvalidDraw(f"generator must be a torch.Generator, not {type(generator).__name__}; or pass seed=.")
        word = torch.randint(0, MAX_SEED, (), generator=generator, device=generator.device, dtype=torch.int64)
        drawn = int(word.item())
    if seed is not None:
        return check_seed(seed)
    if part is not None:
        raise InvalidDraw("part needs seed: the parts of a cycle are disjoint only under one seed.")
    return fresh_seed() if drawn is None else drawn
