"""The semaphore is fair, and its refusals come at a bounded rate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from drawpoint.errors import Overloaded
from drawpoint_service.admission import semaphore as module
from drawpoint_service.admission.semaphore import FairSemaphore, RefusalQueue

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def asked(semaphore: FairSemaphore, amount: int) -> asyncio.Task[Callable[[], None]]:
    return asyncio.create_task(semaphore.acquire(amount, "no more."))


async def test_free_units_are_acquired_at_once_and_others_refused() -> None:
    semaphore = FairSemaphore(10, 0, RefusalQueue())
    release = await semaphore.acquire(6, "no more.")
    await semaphore.acquire(4, "no more.")
    with pytest.raises(Overloaded, match=r"no more\."):
        await semaphore.acquire(1, "no more.")
    release()
    await semaphore.acquire(6, "no more.")


async def test_more_units_than_there_are_can_be_held_alone() -> None:
    semaphore = FairSemaphore(10, 30, RefusalQueue())
    release = await semaphore.acquire(1, "no more.")
    large = asked(semaphore, 1000)
    await settle()
    assert not large.done()
    release()
    release_large = await large
    small = asked(semaphore, 1)
    await settle()
    assert not small.done()
    release_large()
    await small


async def test_small_requests_do_not_overtake_a_large_one() -> None:
    semaphore = FairSemaphore(10, 30, RefusalQueue())
    first = await semaphore.acquire(5, "no more.")
    large = asked(semaphore, 8)
    await settle()
    small = asked(semaphore, 1)
    await settle()
    assert not large.done()
    assert not small.done()
    first()
    await large
    await small


async def test_units_are_reserved_for_a_large_request_that_was_refused() -> None:
    semaphore = FairSemaphore(10, 0, RefusalQueue())
    held = [await semaphore.acquire(2, "no more.") for _ in range(3)]
    with pytest.raises(Overloaded):
        await semaphore.acquire(10, "no more.")
    held.pop()()
    with pytest.raises(Overloaded):  # else small ones would take what the large one waits for
        await semaphore.acquire(2, "no more.")
    for release in held:
        release()
    (await semaphore.acquire(10, "no more."))()
    await semaphore.acquire(2, "no more.")
    await semaphore.acquire(2, "no more.")


async def test_a_large_request_that_is_refused_again_does_not_keep_out_small_ones() -> None:
    semaphore = FairSemaphore(10, 0, RefusalQueue())
    await semaphore.acquire(2, "no more.")
    outcomes = []
    for _ in range(4):
        with pytest.raises(Overloaded):
            await semaphore.acquire(10, "no more.")
        try:
            (await semaphore.acquire(2, "no more."))()
            outcomes.append(True)
        except Overloaded:
            outcomes.append(False)
    assert outcomes.count(True) == 2


async def test_a_reservation_that_nobody_comes_back_for_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESERVED_SECONDS", 0)

    semaphore = FairSemaphore(10, 0, RefusalQueue())
    await semaphore.acquire(2, "no more.")
    with pytest.raises(Overloaded):
        await semaphore.acquire(10, "no more.")
    await semaphore.acquire(2, "no more.")


async def test_a_cancelled_waiter_holds_nothing() -> None:
    semaphore = FairSemaphore(1, 30, RefusalQueue())
    release = await semaphore.acquire(1, "no more.")
    waiting, just_given, last = (asked(semaphore, 1) for _ in range(3))
    await settle()
    waiting.cancel()
    release()  # to the second, which is cancelled before it knows
    just_given.cancel()
    await last
    for cancelled in (waiting, just_given):
        with pytest.raises(asyncio.CancelledError):
            await cancelled


async def test_refusals_have_a_bounded_rate_and_a_request_that_waits_for_one_may_be_let_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 30)

    semaphore = FairSemaphore(1, 0, RefusalQueue())
    release = await semaphore.acquire(1, "no more.")
    waiting = [asked(semaphore, 1) for _ in range(4)]
    refused, rest = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    assert [type(task.exception()) for task in refused] == [Overloaded]
    assert len(rest) == 3
    while rest:
        release()
        served, rest = await asyncio.wait(rest, return_when=asyncio.FIRST_COMPLETED)
        release = served.pop().result()
