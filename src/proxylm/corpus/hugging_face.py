"""Hugging Face data sets, through the optional extra ``datasets``: ``hf:NAME[:CONFIG]``.

The library downloads and caches; we read the rows of its Arrow table. A worker opens the cached
table again, so the object that crosses to it holds names only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cached_property
from types import ModuleType
from typing import Any

import pyarrow as pa

from proxylm.corpus.contract import ConfiguredCorpus, CorpusPart, RangePart
from proxylm.corpus.document import Document, Rejection
from proxylm.corpus.parquet import check_columns, read_rows
from proxylm.errors import DataError, UsageError, one_line
from proxylm.files import is_there
from proxylm.fingerprint import fingerprint_of

PREFIX = "hf:"
SPLIT = "train"


class HuggingFaceCorpus(ConfiguredCorpus):
    """The rows of one data set's ``train`` split; its name is ``hf:NAME`` or ``hf:NAME:CONFIG``."""

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_dataset"}

    @cached_property
    def _dataset(self) -> Any:
        dataset = _load(_import_datasets(), self.name)
        check_columns(dataset.data.table.schema, self._fields, self.name)
        return dataset

    @property
    def _table(self) -> pa.Table:
        return self._dataset.data.table

    @cached_property
    def fingerprint(self) -> str:
        """The library's own fingerprint of the data, and the columns read."""
        options, of_data = asdict(self._fields), str(self._dataset._fingerprint)
        part_bytes = self._config.part_bytes_of(self._table.nbytes)
        return fingerprint_of("hugging face", self.name, of_data, options, part_bytes)

    def parts(self) -> Sequence[RangePart]:
        """Equal runs of rows, about ``part_bytes`` each."""
        rows, num_bytes = self._table.num_rows, self._table.nbytes
        part_bytes = self._config.part_bytes_of(num_bytes)
        rows_per_part = max(1, rows * part_bytes // max(1, num_bytes))
        return [
            RangePart(
                index=index,
                num_bytes=num_bytes * (min(first + rows_per_part, rows) - first) // rows,
                first=first,
                stop=min(first + rows_per_part, rows),
            )
            for index, first in enumerate(range(0, rows, rows_per_part))
        ]

    def read(self, part: CorpusPart) -> Iterator[Document | Rejection]:
        """One item per row of the part, in order.

        Raises:
            DataError: rows in it cannot be read.
        """
        assert isinstance(part, RangePart)
        row = part.first
        try:
            for batch in self._table.slice(part.first, part.stop - part.first).to_batches():
                yield from read_rows(batch, self.name, row, self._fields)
                row += batch.num_rows
        except (pa.ArrowException, OSError) as error:
            reason = one_line(error)
            raise DataError(f"{self.name}: row {row} or later cannot be read ({reason})") from None


def _import_datasets() -> ModuleType:
    try:
        import datasets
    except ImportError:
        raise UsageError(
            "hf: corpora need the extra 'datasets': pip install 'proxylm[datasets]'"
        ) from None
    return datasets


def _load(datasets: ModuleType, name: str) -> Any:
    path, configuration = _path_and_configuration(name.removeprefix(PREFIX))
    if not path.strip("/ "):
        raise UsageError(f"{name}: names no data set; write {PREFIX}NAME or {PREFIX}NAME:CONFIG")
    try:
        dataset = datasets.load_dataset(path, configuration or None, split=SPLIT)
        # Without the index mapping of a shuffled or filtered view: rows as they are stored.
        return dataset.flatten_indices()
    except Exception as error:  # its readers and file systems fail in ways of their own
        raise DataError(f"{name}: cannot be loaded ({one_line(_origin(error))})") from None


def _path_and_configuration(name: str) -> tuple[str, str]:
    """``NAME[:CONFIG]`` apart: a folder may hold colons, a configuration's name cannot."""
    path, colon, configuration = name.rpartition(":")
    return (path, configuration) if colon and not is_there(name) else (name, "")


def _origin(error: BaseException) -> BaseException:
    """What a library's "an error occurred" was raised from."""
    while error.__cause__ is not None:
        error = error.__cause__
    return error
