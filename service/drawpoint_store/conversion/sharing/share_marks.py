"""The marks of shares: which were begun, and with which options, so that a publication can say what lacks.

`<root>/.convert/shares/<digest>-3-of-8.json` tells that share 3 of 8 was begun. The digest is that of its options,
which the file holds. No bytes of the store depend on the marks.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import drawpoint
from drawpoint_store.conversion.journal import fingerprint
from drawpoint_store.wording import printable
from drawpoint_store.writing.lock import JOURNAL_FOLDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drawpoint_store.conversion.planning.plan import ConversionPlan
    from drawpoint_store.storage import Storage

_SHARES = f"{JOURNAL_FOLDER}/shares"
_NAME = re.compile(r"([0-9a-f]{12})-([0-9]+)-of-([0-9]+)\.json")


@dataclass(frozen=True, slots=True)
class ShareMarks:
    """The marks of the shares of one conversion; `options` are what all of them have in common."""

    storage: Storage
    options: Mapping[str, str]

    @classmethod
    def of(cls, plan: ConversionPlan) -> ShareMarks:
        """Return the marks of the shares of a conversion, which are the same for its publication."""
        return cls(plan.writer.storage, _options(plan))

    def add(self, number: int, total: int) -> None:
        """Tell that a share was begun."""
        name = f"{_SHARES}/{self._digest}-{number}-of-{total}.json"
        self.storage.write(name, json.dumps(self.options).encode(), durable=False)

    def totals(self) -> list[int]:
        """Return into how many shares the conversion was divided: one number, or several where that was changed."""
        return sorted({int(found[3]) for found in self._list() if found[1] == self._digest})

    def difference(self) -> str:
        """Return how the options of some share differ from these, "" where there is no share with others."""
        for found in self._list():
            data = self.storage.read(f"{_SHARES}/{found[0]}") if found[1] != self._digest else None
            if data is not None:
                theirs: dict[str, str] = json.loads(data)
                differ = [
                    f"{name} ({theirs.get(name, 'none')} there, {self.options.get(name, 'none')} here)"
                    for name in sorted(self.options.keys() | theirs)
                    if self.options.get(name) != theirs.get(name)
                ]
                return printable(f"share {found[2]}/{found[3]} was run with other options: {', '.join(differ)}")
        return ""

    def clear(self) -> None:
        """Remove the marks: in a local store, which is held, those of other conversions, too."""
        if self.storage.is_shared:
            self.storage.delete([f"{_SHARES}/{found[0]}" for found in self._list() if found[1] == self._digest])
        else:
            self.storage.delete_tree(_SHARES)

    @property
    def _digest(self) -> str:
        return fingerprint(dict(self.options))[:12]

    def _list(self) -> list[re.Match[str]]:
        names = self.storage.list(_SHARES)[1]
        return [found for name in names if (found := _NAME.fullmatch(name))]


def _options(plan: ConversionPlan) -> dict[str, str]:
    """Return what has to be the same for all shares, by the option of `drawpoint convert` that decides it."""
    writer = plan.writer
    fields = [writer.filemap.model_dump(), [asdict(spec) for spec in writer.fields], dict(plan.source.settings)]
    dtypes = dict(sorted((writer.field_dtypes or {}).items()))
    return {
        "drawpoint": drawpoint.__version__,
        "--append or --overwrite": plan.existing,
        "--recipe or --filemap": fingerprint(fields)[:8],
        "--scalars": fingerprint(plan.scalars)[:8] if plan.scalars else "none",
        "--dataset-name": writer.manifest.dataset_name,
        "--chunk-points": str(writer.chunk_points),
        "--shard-points": str(writer.shard_points or "none"),
        "coords_dtype": writer.coords_dtype,
        "--values-dtype": writer.values_dtype,
        "--field-dtype": ", ".join(f"{field}={dtype}" for field, dtype in dtypes.items()) or "none",
        "--compression-level": str(writer.compression_level),
        "--shuffle-seed": str(writer.manifest.shuffle_seed),
    }
