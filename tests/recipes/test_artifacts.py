"""Compressors and stores of a scale: every kind is made, from what it needs, and found again."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import small_neural
from proxylm.compressors.neural.compressor import NeuralCompressor
from proxylm.compressors.registry import load_compressor, save_compressor
from proxylm.compressors.token_bytes import TokenBytesCompressor
from proxylm.compressors.tokenizer import TokenizerCompressor
from proxylm.config import plain_config, validate_config
from proxylm.data.store.store import ViewStore
from proxylm.errors import ProxylmError
from proxylm.recipes.artifacts import Artifact, Store, TrainedCompressor, compressor_for
from proxylm.recipes.engine import make_all
from proxylm.recipes.scale import Scale, read_scale
from proxylm.recipes.views import CorpusChoice, ReadyView

NO_WINDOWS = {"segmentation": {"kind": "lines"}, "coder": {"window_bits": None, "pack_bits": 8}}
SMALL_LM = {"layers": 1, "width": 16, "ffn": 16, "heads": 2, "context": 64}
VIEWS: dict[str, Any] = {
    "tokenizer": {
        "kind": "tokenizer",
        "training": {"algorithm": "bpe", "vocabulary_size": 300},
    },
    "huffman": {
        "kind": "token-bytes",
        "tokenizer": "tokenizer",
        "settings": {"encoding": "huffman"},
    },
    "neural": {"kind": "neural", "model": SMALL_LM, "symbols": 8192, "settings": NO_WINDOWS},
    "neural-4": {
        "kind": "neural",
        "lm_of": "neural",
        "settings": NO_WINDOWS | {"segmentation": {"kind": "fixed", "length": 4}},
    },
    "gzip": {"kind": "ready", "name": "gzip"},
    "wrong": {"kind": "token-bytes", "tokenizer": "gzip"},
}


@pytest.fixture(scope="module")
def scale(tmp_path_factory: pytest.TempPathFactory) -> Scale:
    corpus = small_neural.write_corpus(tmp_path_factory.mktemp("corpus") / "texts")
    values = plain_config(read_scale("micro"))
    corpora = {"stores/python": {"files": {"path": str(corpus)}}}
    values |= {"corpora": corpora, "views": VIEWS, "trained_views": {}}
    return validate_config(Scale, values)


def made(view: str, scale: Scale, pool: Path) -> TrainedCompressor:
    trained = compressor_for(view, "stores/python", scale)
    order: list[Artifact] = [*trained.needs, trained]
    make_all(order, pool)
    return trained


def test_every_kind_of_view_is_trained_from_what_it_needs(scale: Scale, tmp_path: Path) -> None:
    tokens, huffman, neural, fixed, gzip = (
        made(view, scale, tmp_path).load(tmp_path) for view in list(VIEWS)[:5]
    )
    assert isinstance(tokens, TokenizerCompressor) and tokens.symbol_count == 300
    assert isinstance(huffman, TokenBytesCompressor) and huffman.settings["encoding"] == "huffman"
    assert isinstance(neural, NeuralCompressor) and isinstance(fixed, NeuralCompressor)
    assert neural.lm.fingerprint == fixed.lm.fingerprint
    assert neural.fingerprint != fixed.fingerprint
    assert gzip.kind == "gzip"
    assert len(list((tmp_path / "compressors").glob("[!.]*.json"))) == 5


def test_a_view_of_the_wrong_base_is_refused_by_name(scale: Scale, tmp_path: Path) -> None:
    with pytest.raises(ProxylmError, match="view wrong: gzip is no tokenizer"):
        made("wrong", scale, tmp_path)
    with pytest.raises(ProxylmError, match="the scale has no view 'other'; it has: tokenizer"):
        compressor_for("other", "stores/python", scale)


def test_keys_follow_the_corpus_where_something_is_trained_on_it(scale: Scale) -> None:
    files = scale.corpora["stores/python"]
    less = scale.model_copy(
        update={"corpora": {"stores/python": files.model_copy(update={"max_bytes": 5000})}}
    )
    for view, is_same in (("tokenizer", False), ("huffman", False), ("gzip", True)):
        keys = {compressor_for(view, "stores/python", one).key for one in (scale, less)}
        assert (len(keys) == 1) == is_same


def test_the_key_of_a_saved_compressor_follows_its_content(scale: Scale, tmp_path: Path) -> None:
    saved, keys = tmp_path / "saved", set()
    views = scale.views | {"saved": ReadyView(name=str(saved))}
    for name in ("units:bits=4", "units:bits=2"):
        shutil.rmtree(saved, ignore_errors=True)
        save_compressor(load_compressor(name), saved)
        changed = scale.model_copy(update={"views": views})
        keys.add(compressor_for("saved", "stores/python", changed).key)
    assert len(keys) == 2


def test_a_store_holds_the_documents_and_one_view(scale: Scale, tmp_path: Path) -> None:
    compressor = made("tokenizer", scale, tmp_path)
    for view, of in (("tokenizer", compressor), (None, None)):
        store = Store(
            "store",
            corpus=scale.corpora["stores/python"],
            held_out_fraction=0.2,
            view=view,
            compressor=of,
        )
        make_all([store], tmp_path)
        opened = ViewStore.open(store.folder(tmp_path))
        assert opened.document_count == 40 and opened.ordinals(held_out=True).size > 0
        assert list(opened.view_names) == ([] if view is None else [view])
        record = store.record(tmp_path)
        assert record is not None and record["documents"] == 40
        assert list(record["rho"]) == list(opened.view_names)


def test_docstrings_are_text_without_code(tmp_path: Path) -> None:
    folder = tmp_path / "modules"
    folder.mkdir()
    module = ['"""What it is."""', "", "def f():", '    """How.', "", "    Why.", '    """', ""]
    (folder / "a.py").write_text("\n".join(module))
    (folder / "b.py").write_text("x = 1\n")
    (folder / "c.py").write_text("def (:\n")
    choice = CorpusChoice.model_validate({"files": {"path": str(folder)}, "docstrings": True})
    assert [one.raw for one in choice.open().documents()] == [b"What it is.\n\n\nHow.\n\nWhy.\n"]


def test_a_corpus_is_cut_to_about_so_many_bytes(tmp_path: Path) -> None:
    folder = small_neural.write_corpus(tmp_path / "texts", files=200, words=20)
    files = {"path": str(folder)}
    whole = sum(len(one.raw) for one in CorpusChoice(files=files).open().documents())
    part = CorpusChoice(files=files, max_bytes=whole // 4)
    found = [one.raw for one in part.open().documents()]
    assert 0.1 * whole < sum(map(len, found)) < 0.4 * whole
    assert [one.raw for one in part.open().documents()] == found
    assert part.fingerprint != CorpusChoice(files=files).fingerprint
