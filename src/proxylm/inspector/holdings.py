"""What the page looks at: compressors, trained models and view stores, each under a short name.

A model brings its compressor along, and the store of its training where that is at hand; a store
brings the compressors of its views. What comes twice is held once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxylm.checkpoints.run_data import compressor_of, run_data
from proxylm.compressors.contract import Compressor
from proxylm.compressors.registry import load_compressor
from proxylm.data.store.manifest import MANIFEST_NAME
from proxylm.data.store.store import ViewStore
from proxylm.errors import UsageError
from proxylm.generation.byte_model import ByteModel
from proxylm.generation.loading import load
from proxylm.inspector.model_views import InspectedModel
from proxylm.printable import printable

BYTES = "bytes"
UNTRAINED = {"units of 16 bits": "units:bits=16", "gzip": "gzip"}
"""Compressors that need no training; they stand behind those that were given."""


@dataclass(frozen=True, kw_only=True)
class Holdings:
    """Everything that the page can show, by name.

    Attributes:
        compressors: the byte view first.
        models: in the order in which they were given.
        stores: view stores.
    """

    compressors: Mapping[str, Compressor]
    models: Mapping[str, InspectedModel] = field(default_factory=dict)
    stores: Mapping[str, ViewStore] = field(default_factory=dict)

    def compressor(self, name: str) -> Compressor:
        """The compressor of that name.

        Raises:
            UsageError: there is none.
        """
        return _named(self.compressors, name, "compressor")

    def model(self, name: str) -> InspectedModel:
        """The model of that name.

        Raises:
            UsageError: there is none.
        """
        return _named(self.models, name, "model")

    def store(self, name: str) -> ViewStore:
        """The store of that name.

        Raises:
            UsageError: there is none.
        """
        return _named(self.stores, name, "store")

    def as_json(self) -> dict[str, Any]:
        """What there is, for the page."""
        return {
            "compressors": [
                {
                    "name": name,
                    "kind": one.kind,
                    "symbol_count": one.symbol_count,
                    "reversible": one.reversible,
                }
                for name, one in self.compressors.items()
            ],
            "models": [one.as_json() for one in self.models.values()],
            "stores": [
                {"name": name, "documents": one.document_count, "views": list(one.view_names)}
                for name, one in self.stores.items()
            ],
        }


def open_holdings(
    runs: Sequence[Path] = (),
    compressors: Sequence[str] = (),
    stores: Sequence[Path] = (),
    *,
    device: str = "cpu",
) -> Holdings:
    """Load everything that is to be looked at.

    Args:
        runs: what ``proxylm.load`` takes.
        compressors: folders or names, as ``load_compressor`` takes them.
        stores: folders that ``proxylm prepare`` wrote.
        device: where the models run.

    Raises:
        UsageError, DataError, CheckpointError: one of them cannot be opened; the message names it.
    """
    opened = _Opening()
    opened.add_compressor(BYTES, load_compressor("units:bits=8"))
    for given in compressors:
        opened.add_compressor(_short_name(given), load_compressor(given))
    for run in runs:
        opened.add_run(run, device)
    for folder in stores:
        opened.add_store(folder)
    for name, given in UNTRAINED.items():
        opened.add_compressor(name, load_compressor(given))
    return opened.holdings()


class _Opening:
    """Holdings as they grow."""

    def __init__(self) -> None:
        self._compressors: dict[str, Compressor] = {}
        self._models: dict[str, tuple[ByteModel, Compressor | None]] = {}
        self._stores: dict[str, ViewStore] = {}

    def holdings(self) -> Holdings:
        """Everything; a model that has no compressor at hand takes its own among the others'."""
        known = {one.fingerprint: one for one in self._compressors.values()}
        models = {
            name: InspectedModel(name, model, own or known.get(model.compressor_fingerprint or ""))
            for name, (model, own) in self._models.items()
        }
        return Holdings(compressors=self._compressors, models=models, stores=self._stores)

    def add_compressor(self, name: str, compressor: Compressor) -> None:
        known = (one.fingerprint for one in self._compressors.values())
        if compressor.fingerprint not in known:
            self._compressors[_free(name, self._compressors)] = compressor

    def add_run(self, run: Path, device: str) -> None:
        model, compressor = load(run, device=device), compressor_of(run)
        name = _free(_short_name(run), self._models)
        self._models[name] = model, compressor
        data = run_data(run)
        if data is not None:
            for folder in data.stores:
                if (folder / MANIFEST_NAME).is_file():
                    self.add_store(folder)
        if compressor is not None:
            self.add_compressor(f"{compressor.kind} of {name}", compressor)

    def add_store(self, folder: Path) -> None:
        store = ViewStore.open(folder)
        if any(store is one for one in self._stores.values()):
            return
        self._stores[_free(_short_name(folder), self._stores)] = store
        for view in store.views.values():
            compressor = view.load_compressor()
            if compressor is not None:
                self.add_compressor(view.name, compressor)


def _short_name(given: str | Path) -> str:
    """The last part of a path, or a compressor's name as it was given."""
    path = Path(given)
    return printable(path.resolve().name if path.exists() else str(given))


def _free(name: str, taken: Iterable[str]) -> str:
    names = set(taken)
    candidates = [name, *(f"{name} ({number})" for number in range(2, len(names) + 2))]
    return next(candidate for candidate in candidates if candidate not in names)


def _named(held: Mapping[str, Any], name: str, kind: str) -> Any:
    if name not in held:
        raise UsageError(f"{kind} {name[:100]!r}: there is none of that name; reload the page")
    return held[name]
