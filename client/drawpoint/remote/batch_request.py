"""A batch over HTTP: the request that names its draws, and the tensors or the error of each in its answer; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drawpoint.errors import ResponseDamaged
from drawpoint.format.payload import parse
from drawpoint.remote.answers import check_problem, name_error, report_problem
from drawpoint.remote.draw_request import HEADER_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch

    from drawpoint.draw.batch import BatchItem, BatchSelection
    from drawpoint.errors import DrawpointError
    from drawpoint.remote.draw_request import Draw
    from drawpoint.remote.wire import Answer


ITEM_HEADER_BYTES = 2**16
"""How much of an answer each item may take besides its tensors: their places, or the error in their stead."""


@dataclass(frozen=True, slots=True)
class BatchDraw:
    """An item of a batch, and its draws by the prefix that their fields have in its answer."""

    item: BatchItem
    draws: Mapping[str, Draw]


@dataclass(frozen=True, slots=True)
class AskedBatch:
    """What one request asks for, and so what its answer must hold."""

    store: str
    revision: str
    selection: BatchSelection
    draws: Sequence[BatchDraw]

    @property
    def target(self) -> str:
        return f"/stores/{quote(self.store, safe='')}/batch?revision={self.revision}"

    @property
    def body(self) -> bytes:
        """The request as JSON."""
        counts, fields, coords = self.selection
        asked: dict[str, Any] = {
            "samples": [
                {"id": item.sample_id, "seed": item.seed, **({} if item.part is None else {"part": item.part})}
                for item in (draw.item for draw in self.draws)
            ],
            "num_points": counts,
            "coords": coords,
            "dtype": "stored",
        }
        if fields is not None:
            asked["fields"] = fields
        return json.dumps(asked, separators=(",", ":")).encode()

    @property
    def limit(self) -> int:
        """How many bytes its answer can have."""
        tensors = sum(draw.nbytes for item in self.draws for draw in item.draws.values())
        return tensors + HEADER_BYTES + ITEM_HEADER_BYTES * len(self.draws)

    def read(self, answer: Answer) -> list[dict[str, torch.Tensor] | DrawpointError]:
        """Return what an answer holds for each item; raises ResponseDamaged unless it is exactly what was asked for."""
        arrays, metadata = parse(answer.body)
        problems = self._check(metadata)
        by_item: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
        for name, array in arrays.items():
            index, _, key = name.partition("/")
            by_item.setdefault(index, {})[key] = array
        outcomes: list[dict[str, torch.Tensor] | DrawpointError] = []
        for number, draw in enumerate(self.draws):
            held = by_item.pop(str(number), {})
            problem = problems.pop(str(number), None)
            if problem is None:
                outcomes.append(_take(draw, held))
            else:
                if held:
                    raise ResponseDamaged(f"the answer holds both tensors and an error of item {number}.")
                outcomes.append(self._report(problem, draw.item.sample_id, answer))
        if by_item or problems:
            raise ResponseDamaged(
                f"the answer holds more than was asked for: {', '.join((*by_item, *problems))[:200]}."
            )
        return outcomes

    def _check(self, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return the problems of a batch by index, if its metadata are those of this batch."""
        items = [draw.item for draw in self.draws]
        asked = {
            "store": self.store,
            "revision": self.revision,
            "samples": [item.sample_id for item in items],
            "seeds": [item.seed for item in items],
            "parts": [item.part for item in items],
        }
        for name, value in asked.items():
            found: Any = metadata.get(name)
            if not isinstance(value, str):
                found = _parse_json(name, found)
            if found != value:
                raise ResponseDamaged(f"the answer is for {name} {str(found)[:200]!r}, not those asked for.")
        problems = _parse_json("errors", metadata.get("errors"))
        if not isinstance(problems, dict) or not all(isinstance(problem, dict) for problem in problems.values()):
            raise ResponseDamaged("the errors of the answer are no problem documents.")
        return {index: check_problem(problem) for index, problem in problems.items()}

    def _report(self, problem: dict[str, Any], sample_id: str, answer: Answer) -> DrawpointError:
        return report_problem(
            problem,
            name_error(problem.get("status", 0), problem),
            about=f"sample {sample_id!r} of store {self.store!r}",
            store=self.store,
            sample=sample_id,
            request_id=answer.headers.get("x-request-id", ""),
        )


def _take(draw: BatchDraw, held: dict[str, np.ndarray[Any, Any]]) -> dict[str, torch.Tensor]:
    tensors = {}
    # The longest prefix first: every key begins with the empty one.
    for prefix in sorted(draw.draws, key=len, reverse=True):
        own = {key.removeprefix(prefix): held.pop(key) for key in list(held) if key.startswith(prefix)}
        taken = draw.draws[prefix].take(own)
        tensors[prefix] = {f"{prefix}{field}": tensor for field, tensor in taken.items()}
    return {key: tensor for prefix in draw.draws for key, tensor in tensors[prefix].items()}


def _parse_json(name: str, text: str | None) -> Any:
    try:
        return json.loads(text or "")
    except (ValueError, RecursionError) as error:
        raise ResponseDamaged(f"the {name} of the answer are no JSON: {error}.") from error
