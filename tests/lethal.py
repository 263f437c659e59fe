"""Sources of which one sample ends the process that reads it, as one does that takes too much memory."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np

from drawpoint_store.conversion.sources.recipe_source import RecipeSource

LETHAL = "run_1"


class LethalSource(RecipeSource):
    """Runs, of which `run_1` kills its reader."""

    def only(self, sample_id: str) -> RecipeSource:
        narrowed = super().only(sample_id)
        lethal = type(self)(narrowed.tree, narrowed.recipe, narrowed.scratch)
        lethal.__dict__.update(narrowed.__dict__)
        return lethal

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        if sample_id == LETHAL and self.is_lethal():
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(sample_id, field)

    def is_lethal(self) -> bool:
        """Tell whether the next read kills."""
        return True


class OnceLethalSource(LethalSource):
    """Runs, of which `run_1` kills the first process that reads it, if `arm` was called."""

    def arm(self) -> None:
        """Have the next reader be killed."""
        self._weapon.touch()

    def is_lethal(self) -> bool:
        try:
            self._weapon.unlink()
        except FileNotFoundError:
            return False
        return True

    @property
    def _weapon(self) -> Path:
        return Path(self.location).with_suffix(".armed")
