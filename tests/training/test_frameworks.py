"""The real Lightning Trainer and Accelerate get from a SampleLoader the batches that a plain loop gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate
import lightning
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from drawpoint import SampleLoader
from drawpoint_store import ZarrChunkReader

from .test_loader import BATCHES, EPOCHS, assert_equal_batches, make_loader, train

pytestmark = [
    pytest.mark.filterwarnings("ignore:This process:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*LeafSpec:FutureWarning"),  # Lightning 2.6 on torch 2.13
    pytest.mark.filterwarnings("ignore:.*callbacks used to create the checkpoint:UserWarning"),
]

WAYS: list[dict[str, Any]] = [
    {},
    {"num_workers": 2, "multiprocessing_context": "fork", "persistent_workers": True, "drop_last": True},
]


class Recorder(lightning.LightningModule):
    """A model that learns nothing and keeps what it was trained with, epoch by epoch."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[dict[str, Any]] = []

    def training_step(self, batch: dict[str, Any]) -> torch.Tensor:
        self.seen.append(batch)
        loss: torch.Tensor = self.weight * batch["surface_pressure"].mean()
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters())


def fit(
    loader: SampleLoader | lightning.LightningDataModule, *, resume: Path | None = None, **options: Any
) -> list[dict[str, Any]]:
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    model = Recorder()
    trainer = lightning.Trainer(**{"enable_checkpointing": False, "max_epochs": EPOCHS, **quiet, **options})
    trainer.fit(model, loader, ckpt_path=resume)
    return model.seen


@pytest.fixture(scope="module")
def checkpoints(local: ZarrChunkReader, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each step, `step=k.ckpt`, and one of each epoch's end, `epoch=e.ckpt`."""
    folder = tmp_path_factory.mktemp("checkpoints")
    steps = ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)
    epochs = ModelCheckpoint(folder, "{epoch}", every_n_epochs=1, save_top_k=-1, save_on_train_epoch_end=True)
    fit(make_loader(local), callbacks=[steps, epochs], enable_checkpointing=True)
    return folder


class TestLightning:
    @pytest.mark.parametrize("way", WAYS)
    def test_trains_the_epochs_asked_for(self, local: ZarrChunkReader, way: dict[str, Any]) -> None:
        expected = train(make_loader(local, **way))
        assert len(expected) == EPOCHS * (3 if way.get("drop_last") else BATCHES)
        loader = make_loader(local, **way)
        assert_equal_batches(fit(loader), expected)

    @pytest.mark.parametrize("step", [1, BATCHES, BATCHES + 3])
    def test_resumes_after_any_batch(self, local: ZarrChunkReader, checkpoints: Path, step: int) -> None:
        rest = fit(make_loader(local), resume=checkpoints / f"step={step}.ckpt")
        assert_equal_batches(rest, train(make_loader(local))[step:])

    def test_resumes_with_workers_and_a_new_loader_each_epoch(self, local: ZarrChunkReader, checkpoints: Path) -> None:
        loaders = []

        class Source(lightning.LightningDataModule):
            def train_dataloader(self) -> SampleLoader:
                loaders.append(make_loader(local, num_workers=2, multiprocessing_context="fork"))
                return loaders[-1]

        rest = fit(Source(), resume=checkpoints / "step=5.ckpt", reload_dataloaders_every_n_epochs=1)
        assert_equal_batches(rest, train(make_loader(local))[5:])
        assert len(loaders) == 2

    def test_starts_the_next_epoch_after_limit_train_batches(self, local: ZarrChunkReader) -> None:
        expected = train(make_loader(local))
        begins = [expected[at] for epoch in range(EPOCHS) for at in (epoch * BATCHES, epoch * BATCHES + 1)]
        assert_equal_batches(fit(make_loader(local), limit_train_batches=2), begins)

    def test_refuses_a_sample_loader_for_validation_with_the_remedy(self, local: ZarrChunkReader) -> None:
        class Judge(Recorder):
            def validation_step(self, batch: dict[str, Any]) -> None:
                self.seen.append(batch)

        trainer = lightning.Trainer(
            logger=False, enable_progress_bar=False, enable_checkpointing=False, accelerator="cpu"
        )
        with pytest.raises(AttributeError, match="a DataLoader of a dataset with mode='fixed'"):
            trainer.validate(Judge(), make_loader(local), verbose=False)


def go_on(
    loader: SampleLoader, folder: Path, *, steps: int | None = None, resume: bool = False
) -> list[dict[str, Any]]:
    """Train by Accelerate to the end of the last epoch, or for `steps` batches and save the state of everything."""
    accelerator = accelerate.Accelerator(cpu=True)
    weight = torch.nn.Linear(1, 1)
    model, optimiser, prepared = accelerator.prepare(weight, torch.optim.SGD(weight.parameters()), loader)
    assert prepared is loader
    accelerator.register_for_checkpointing(loader)
    if resume:
        accelerator.load_state(str(folder))
    seen: list[dict[str, Any]] = []
    while loader.epoch < EPOCHS:
        for batch in loader:
            seen.append(batch)
            with accelerator.accumulate(model):
                accelerator.backward(model(batch["surface_pressure"].mean().reshape(1, 1)).sum())
                optimiser.step()
                optimiser.zero_grad()
            if len(seen) == steps:
                accelerator.save_state(str(folder))
                return seen
    return seen


class TestAccelerate:
    @pytest.mark.parametrize("way", WAYS)
    def test_trains_and_resumes_as_a_plain_loop_does(
        self, local: ZarrChunkReader, tmp_path: Path, way: dict[str, Any]
    ) -> None:
        expected = train(make_loader(local, **way))
        assert_equal_batches(go_on(make_loader(local, **way), tmp_path), expected)
        for steps in (1, len(expected) // EPOCHS):
            before = go_on(make_loader(local, **way), tmp_path, steps=steps)
            after = go_on(make_loader(local, **way), tmp_path, resume=True)
            assert_equal_batches([*before, *after], expected)

    def test_refuses_skip_first_batches_with_the_remedy(self, local: ZarrChunkReader) -> None:
        with pytest.raises(AttributeError, match="load_state_dict"):
            accelerate.skip_first_batches(make_loader(local), 2)
