"""What is bounded is given out in order, and who gets none is refused in a measured way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from drawpoint.errors import Overloaded
from drawpoint_service.admission import budget as module
from drawpoint_service.admission.budget import Budget, Pace


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def asked(budget: Budget, amount: int) -> asyncio.Task[Callable[[], None]]:
    return asyncio.create_task(budget.take(amount, "no more."))


def test_what_is_there_is_given_at_once_and_what_is_not_is_refused() -> None:
    async def run() -> None:
        budget = Budget(10, 0, Pace())
        give_back = await budget.take(6, "no more.")
        await budget.take(4, "no more.")
        with pytest.raises(Overloaded, match=r"no more\."):
            await budget.take(1, "no more.")
        give_back()
        await budget.take(6, "no more.")

    asyncio.run(run())


def test_one_who_wants_more_than_there_is_gets_it_alone() -> None:
    async def run() -> None:
        budget = Budget(10, 30, Pace())
        give_back = await budget.take(1, "no more.")
        large = asked(budget, 1000)
        await settle()
        assert not large.done()
        give_back()
        give_large_back = await large
        small = asked(budget, 1)
        await settle()
        assert not small.done()
        give_large_back()
        await small

    asyncio.run(run())


def test_small_ones_do_not_overtake_a_large_one() -> None:
    async def run() -> None:
        budget = Budget(10, 30, Pace())
        first = await budget.take(5, "no more.")
        large = asked(budget, 8)
        await settle()
        small = asked(budget, 1)
        await settle()
        assert not large.done()
        assert not small.done()
        first()
        await large
        await small

    asyncio.run(run())


def test_for_a_large_one_that_was_refused_room_is_kept_until_it_comes_back() -> None:
    async def run() -> None:
        budget = Budget(10, 0, Pace())
        held = [await budget.take(2, "no more.") for _ in range(3)]
        with pytest.raises(Overloaded):
            await budget.take(10, "no more.")
        held.pop()()
        with pytest.raises(Overloaded):  # else small ones would take what the large one waits for
            await budget.take(2, "no more.")
        for give_back in held:
            give_back()
        (await budget.take(10, "no more."))()
        await budget.take(2, "no more.")
        await budget.take(2, "no more.")

    asyncio.run(run())


def test_a_large_one_that_is_refused_again_and_again_does_not_keep_out_small_ones() -> None:
    async def run() -> None:
        budget = Budget(10, 0, Pace())
        await budget.take(2, "no more.")
        outcomes = []
        for _ in range(4):
            with pytest.raises(Overloaded):
                await budget.take(10, "no more.")
            try:
                (await budget.take(2, "no more."))()
                outcomes.append(True)
            except Overloaded:
                outcomes.append(False)
        assert outcomes.count(True) == 2

    asyncio.run(run())


def test_room_that_nobody_comes_back_for_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESERVED_SECONDS", 0)

    async def run() -> None:
        budget = Budget(10, 0, Pace())
        await budget.take(2, "no more.")
        with pytest.raises(Overloaded):
            await budget.take(10, "no more.")
        await budget.take(2, "no more.")

    asyncio.run(run())


def test_who_is_cancelled_while_waiting_takes_nothing() -> None:
    async def run() -> None:
        budget = Budget(1, 30, Pace())
        give_back = await budget.take(1, "no more.")
        waiting, just_given, last = (asked(budget, 1) for _ in range(3))
        await settle()
        waiting.cancel()
        give_back()  # to the second, which is cancelled before it knows
        just_given.cancel()
        await last
        for cancelled in (waiting, just_given):
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    asyncio.run(run())


def test_refusals_are_paced_and_who_waits_for_one_may_be_let_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 30)

    async def run() -> None:
        budget = Budget(1, 0, Pace())
        give_back = await budget.take(1, "no more.")
        waiting = [asked(budget, 1) for _ in range(4)]
        refused, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert [type(task.exception()) for task in refused] == [Overloaded]
        assert len(rest) == 3
        while rest:
            give_back()
            served, rest = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
            give_back = served.pop().result()

    asyncio.run(run())
