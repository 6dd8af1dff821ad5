"""What runs have left behind: their metrics and their configurations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxylm.checkpoints.run_data import run_config_of
from proxylm.errors import DataError
from proxylm.training.metrics import METRICS_FILE, read_metrics

NOT_SET = "–"


@dataclass(frozen=True, kw_only=True)
class RunHistory:
    """One run under the name that the report gives it.

    Attributes:
        name: what the report calls it.
        records: its metrics, a step each.
        config: its configuration as plain values; empty where its folder has none.
    """

    name: str
    records: Sequence[dict[str, Any]]
    config: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, run: Path) -> RunHistory:
        """Read a run folder.

        Raises:
            DataError: the folder holds no metrics.
            DamagedFileError: its configuration cannot be read.
        """
        path = run / METRICS_FILE
        if not path.is_file():
            raise DataError(f"{run}: no {METRICS_FILE} there; give the folder of a training run")
        return cls(name=run.name, records=read_metrics(path), config=run_config_of(run) or {})

    def evaluations(self, view: str) -> list[dict[str, Any]]:
        """The records of the steps at which held-out documents were read as ``view``."""
        return [record for record in self.records if view in record.get("held_out", {})]

    @property
    def views(self) -> list[str]:
        """How held-out documents were read, in the order in which that came up."""
        return list(dict.fromkeys(view for one in self.records for view in one.get("held_out", {})))


def differences(runs: Sequence[RunHistory]) -> dict[str, list[str]]:
    """The settings in which runs differ: by key, what each of them has (``NOT_SET`` for nothing).

    >>> one = RunHistory(name="a", records=[], config={"model": {"width": 8}, "seed": 0})
    >>> other = RunHistory(name="b", records=[], config={"model": {"width": 16}, "seed": 0})
    >>> differences([one, other])
    {'model.width': ['8', '16']}
    """
    flat = [_flat(run.config) for run in runs]
    keys = dict.fromkeys(key for one in flat for key in one)
    values = {key: [one.get(key, NOT_SET) for one in flat] for key in keys}
    return {key: found for key, found in values.items() if len(set(found)) > 1}


def _flat(value: Any, key: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        inner = dict(value)
    elif isinstance(value, list) and any(isinstance(one, Mapping) for one in value):
        inner = dict(enumerate(value))
    else:
        return {key: str(value)}
    found: dict[str, str] = {}
    for name, one in inner.items():
        found |= _flat(one, f"{key}.{name}" if key else str(name))
    return found
