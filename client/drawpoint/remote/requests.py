"""What is asked for, over HTTP: a draw or a batch of them, and the tensors or errors in its answer; pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from drawpoint.draw.batch import COORDS_PREFIX
from drawpoint.errors import ResponseDamaged
from drawpoint.format.payload import parse
from drawpoint.format.tensors import as_float32_each
from drawpoint.remote.answers import check_problem, name_error, report_problem
from drawpoint.remote.engine import Request

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import numpy as np
    import torch

    from drawpoint.draw.batch import BatchItem, BatchSelection
    from drawpoint.draw.selection import Selection
    from drawpoint.errors import DrawpointError
    from drawpoint.remote.engine import Answer

HEADER_BYTES = 2**20
"""How much of an answer may be anything but tensors; far more than a header takes."""

ITEM_HEADER_BYTES = 2**16
"""How much of an answer each item of a batch may take besides its tensors: their names, or an error in their stead."""


@dataclass(frozen=True, slots=True)
class DrawRequest:
    """A request for `selection` under `seed`, and so what its answer must hold; `fields` are those asked for."""

    store: str
    revision: str
    selection: Selection
    seed: int
    fields: Collection[str] | None = None

    @property
    def request(self) -> Request:
        return Request(
            self.target,
            f"sample {self.selection.sample_id!r} of store {self.store!r}",
            store=self.store,
            sample=self.selection.sample_id,
            revision=self.revision,
            require_digest=True,
            limit=self.selection.nbytes() + HEADER_BYTES,
        )

    @property
    def target(self) -> str:
        """Path and query; equal draws have equal ones, so that a cache finds them again."""
        is_coords = self.selection.stream == "coords"
        words = [
            f"{quote(domain, safe='')}={'all' if chosen.count is None else chosen.count}"
            for domain, chosen in sorted(self.selection.domains.items())
            if is_coords or chosen.count is not None
        ]
        if self.fields is not None:
            words.append(f"fields={quote(','.join(sorted(set(self.fields))), safe=',')}")
        words.append(f"seed={self.seed}")
        if self.selection.part is not None:
            words.append(f"part={self.selection.part}")
        words.append(f"dtype=stored&revision={self.revision}")
        path = f"{'coords' if is_coords else 'samples'}/{quote(self.selection.sample_id, safe='/')}"
        return f"/stores/{quote(self.store, safe='')}/{path}?{'&'.join(words)}"

    def read(self, body: bytearray) -> dict[str, torch.Tensor]:
        """Return the tensors of an answer, float32; those that travel as such share the memory of `body`.

        Raises ResponseDamaged unless the body holds exactly this draw.
        """
        arrays, metadata = parse(body)
        asked = {"sample": self.selection.sample_id, "seed": str(self.seed)}
        if self.selection.part is not None:
            asked["part"] = str(self.selection.part)
        _check_metadata(metadata, store=self.store, revision=self.revision, **asked)
        tensors = self.take(arrays)
        _check_all_taken(arrays)
        return tensors

    def take(self, arrays: dict[str, np.ndarray[Any, Any]], prefix: str = "") -> dict[str, torch.Tensor]:
        """Return this draw's tensors of `arrays`, where their keys have a `prefix`, and remove them there.

        Raises ResponseDamaged unless each of its fields is there as it must be.
        """
        taken = {}
        for domain in self.selection.domains.values():
            for layout in domain.arrays:
                array = arrays.pop(f"{prefix}{layout.field}", None)
                if array is None:
                    raise ResponseDamaged(f"the answer lacks {prefix}{layout.field}.")
                shape = (domain.num_rows,) if layout.dim == 1 else (domain.num_rows, layout.dim)
                if array.shape != shape or array.dtype != layout.dtype:
                    came = f"{array.dtype}{list(array.shape)}, not as {layout.dtype}{list(shape)}"
                    raise ResponseDamaged(f"{prefix}{layout.field} came as {came}.")
                taken[layout.field] = array
        return as_float32_each(taken)


@dataclass(frozen=True, slots=True)
class ItemRequest:
    """An item of a batch: its draw, and that of its coordinates if any are asked for."""

    item: BatchItem
    draw: DrawRequest
    coords: DrawRequest | None

    def nbytes(self) -> int:
        """Return the bytes of the item's tensors as they are sent."""
        return self.draw.selection.nbytes() + (0 if self.coords is None else self.coords.selection.nbytes())


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """A request for many draws that share `selection`, and so what its answer must hold."""

    store: str
    revision: str
    selection: BatchSelection
    items: Sequence[ItemRequest]

    @property
    def request(self) -> Request:
        return Request(
            f"/stores/{quote(self.store, safe='')}/batch?revision={self.revision}",
            f"{len(self.items)} samples of store {self.store!r}",
            store=self.store,
            revision=self.revision,
            require_digest=True,
            body=self._body(),
            limit=HEADER_BYTES + sum(ITEM_HEADER_BYTES + each.nbytes() for each in self.items),
        )

    def _body(self) -> bytes:
        counts, fields, coords = self.selection
        asked: dict[str, Any] = {
            "samples": [
                {"id": item.sample_id, "seed": item.seed, **({} if item.part is None else {"part": item.part})}
                for item in (each.item for each in self.items)
            ],
            "num_points": counts,
            "coords": coords,
            "dtype": "stored",
        }
        if fields is not None:
            asked["fields"] = fields
        return json.dumps(asked, separators=(",", ":")).encode()

    def read(self, answer: Answer) -> list[dict[str, torch.Tensor] | DrawpointError]:
        """Return what an answer holds for each item; raises ResponseDamaged unless it is exactly what was asked for."""
        arrays, metadata = parse(answer.body)
        problems = self._check(metadata)
        outcomes: list[dict[str, torch.Tensor] | DrawpointError] = []
        for number, asked in enumerate(self.items):
            problem = problems.pop(str(number), None)
            if problem is not None:
                outcomes.append(self._report(problem, asked.item.sample_id, answer))
                continue
            tensors = asked.draw.take(arrays, f"{number}/")
            if asked.coords is not None:
                drawn = asked.coords.take(arrays, f"{number}/{COORDS_PREFIX}")
                tensors |= {f"{COORDS_PREFIX}{field}": tensor for field, tensor in drawn.items()}
            outcomes.append(tensors)
        _check_all_taken({**arrays, **problems})
        return outcomes

    def _check(self, metadata: Mapping[str, str]) -> dict[str, dict[str, Any]]:
        """Return the problems of a batch by index, if its metadata are those of this batch."""
        try:
            found = {name: json.loads(metadata[name]) for name in ("samples", "seeds", "parts", "errors")}
        except (KeyError, ValueError, RecursionError) as error:
            raise ResponseDamaged(f"the metadata of the answer are none of a batch: {error}.") from error
        items = [each.item for each in self.items]
        _check_metadata(
            {**metadata, **found},
            store=self.store,
            revision=self.revision,
            samples=[item.sample_id for item in items],
            seeds=[item.seed for item in items],
            parts=[item.part for item in items],
        )
        problems = found["errors"]
        if not isinstance(problems, dict) or not all(isinstance(problem, dict) for problem in problems.values()):
            raise ResponseDamaged("the errors of the answer are no problem documents.")
        return {index: check_problem(problem) for index, problem in problems.items()}

    def _report(self, problem: dict[str, Any], sample_id: str, answer: Answer) -> DrawpointError:
        return report_problem(
            problem,
            name_error(problem.get("status", 0), problem),
            description=f"sample {sample_id!r} of store {self.store!r}",
            store=self.store,
            sample=sample_id,
            request_id=answer.headers.get("x-request-id", ""),
        )


def _check_metadata(metadata: Mapping[str, Any], **asked: Any) -> None:
    for name, value in asked.items():
        found = metadata.get(name)
        if found != value:
            raise ResponseDamaged(f"the answer is for {name} {found!r:.200}, asked for was {value!r:.200}.")


def _check_all_taken(rest: Mapping[str, object]) -> None:
    if rest:
        raise ResponseDamaged(f"the answer holds more than was asked for: {', '.join(rest)[:200]}.")
