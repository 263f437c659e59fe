"""A reader for PhysicsNeMo's datapipes: its Dataset, transforms and DataLoader on top of a SampleDataset."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from physicsnemo.datapipes.readers.base import Reader

from drawpoint.draw.seeds import MAX_SEED

if TYPE_CHECKING:
    import torch

    from drawpoint.training.dataset import SampleDataset


class SampleReader(Reader):  # type: ignore[misc]  # PhysicsNeMo need not be installed where types are checked
    """A PhysicsNeMo Reader over a SampleDataset. The metadata of each sample hold its id, `sample_id`.

    `set_epoch` sets the dataset's epoch, and `set_generator` sets the seed of its draws to the generator's seed.
    `options` are those of PhysicsNeMo's Reader (`pin_memory`, `include_index_in_metadata`).
    """

    def __init__(self, dataset: SampleDataset, **options: Any) -> None:
        super().__init__(**options)
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def _load_sample(self, index: int) -> dict[str, torch.Tensor]:
        sample: dict[str, torch.Tensor] = self.dataset[index]
        return sample

    def _get_sample_metadata(self, index: int) -> dict[str, Any]:
        return {"sample_id": self.dataset.sample_ids[index]}

    def set_generator(self, generator: torch.Generator) -> None:
        super().set_generator(generator)
        self.dataset.seed = generator.initial_seed() & MAX_SEED

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.dataset.set_epoch(epoch)
