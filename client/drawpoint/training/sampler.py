"""The order of an epoch: a shuffle named by seed and epoch, that can be taken up where it was left."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import Sampler

from drawpoint.draw.philox import PhiloxStream
from drawpoint.draw.seeds import MAX_SEED, check_integer, check_seed
from drawpoint.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sized

STATE_VERSION = 1


class ResumableSampler(Sampler[int]):
    """Indices of `dataset` in the order of an epoch, from `position` on: those of rank `rank` of `world_size`.

    The order is a function of seed, epoch and length alone, so that ranks need not agree on anything else. Each rank
    gets the same number of indices: the first ones again where they do not divide, or with `drop_last` fewer.
    Whoever trains tells by `advance` how many were consumed: the loader's workers take indices long before.

    `state_dict` says how far all ranks have come together, so that a training may go on with another number of
    ranks. Raises InvalidDraw and InvalidParameter for numbers that cannot be meant.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        check_integer("world_size", world_size, 1)
        if not (hasattr(rank, "__index__") and 0 <= rank < world_size):
            raise InvalidParameter.of("rank", str(rank), f"an integer in 0..{world_size - 1}")
        self.n_samples = len(dataset)
        self.shuffle = shuffle
        self.seed = check_seed(seed)
        self.rank = rank
        self.world_size = world_size
        self.drop_last = drop_last
        self.epoch = 0
        self._begin = 0  # where in the epoch's order all ranks began together; state_dict of another world leads here
        self._taken = 0  # of this rank since then

    def __len__(self) -> int:
        """Return how many indices of the epoch are left for this rank."""
        left = self.n_samples - self._begin
        return (left // self.world_size if self.drop_last else -(-left // self.world_size)) - self._taken

    def __iter__(self) -> Iterator[int]:
        order = PhiloxStream("order/1", self.seed, self.epoch).permutation(self.n_samples) if self.shuffle else None
        begin = self._begin + self._taken * self.world_size + self.rank
        for step in range(len(self)):
            place = (begin + step * self.world_size) % self.n_samples
            yield place if order is None else int(order[place])

    def set_epoch(self, epoch: int) -> None:
        """Begin `epoch`, an integer >= 0; the present one goes on where it is."""
        if check_integer("epoch", epoch) != self.epoch:
            self.epoch, self._begin, self._taken = epoch, 0, 0

    def advance(self, count: int) -> None:
        """Take note that `count` indices of this rank have been consumed."""
        if not 0 <= count <= len(self):
            raise InvalidParameter.of("count", str(count), f"an integer in 0..{len(self)}, which are left")
        self._taken += count

    def state_dict(self) -> dict[str, int]:
        """Return where the epoch stands; the same on ranks that have advanced equally."""
        done = min(self._begin + self._taken * self.world_size, self.n_samples)
        return {
            "version": STATE_VERSION,
            "seed": self.seed,
            "n_samples": self.n_samples,
            "epoch": self.epoch,
            "done": done,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state` was taken; raises InvalidParameter if it is none, or of other samples or another seed."""
        mine = self.state_dict()
        missing = sorted(mine.keys() - state.keys()) if isinstance(state, Mapping) else list(mine)
        if missing:
            raise InvalidParameter(f"the state has no {', '.join(missing)}; load what state_dict returned.")
        for name in ("version", "n_samples", "seed"):
            if state.get(name) != mine[name]:
                raise InvalidParameter(
                    f"the state is of {name} {state.get(name)!r}, this sampler of {mine[name]}; make it as it was "
                    "when the state was taken.",
                )
        for name, most in (("epoch", MAX_SEED), ("done", self.n_samples)):
            if not (isinstance(state[name], int) and 0 <= state[name] <= most):
                raise InvalidParameter(
                    f"the state's {name} must be an integer in 0..{most}, not {state[name]!r}; load what state_dict "
                    "returned."
                )
        self.epoch, self._begin, self._taken = state["epoch"], state["done"], 0
