"""A source of which one sample ends the process that reads it, as one does that takes too much memory."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import Any

import numpy as np

from drawpoint_store.conversion.sources.pt_source import PtSource

LETHAL = "run_1"


@dataclass(frozen=True)
class LethalSource(PtSource):
    """Runs, of which `run_1` kills its reader."""

    def read(self, sample_id: str, field: str) -> np.ndarray[Any, Any]:
        if sample_id == LETHAL:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(sample_id, field)
