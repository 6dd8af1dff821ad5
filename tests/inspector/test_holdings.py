"""What is given is held under short names, what belongs to it comes along, nothing comes twice."""

from __future__ import annotations

import shutil

import pytest

from proxylm.errors import ProxylmError, UsageError
from proxylm.inspector.holdings import open_holdings


def test_a_run_brings_its_store_and_its_compressor_along(holdings):
    assert list(holdings.models) == ["run", "bytes"]
    assert list(holdings.stores) == ["store"]
    assert list(holdings.compressors) == ["bytes", "tokens", "units of 16 bits", "gzip"]
    told = holdings.as_json()
    assert told["stores"] == [{"name": "store", "documents": 60, "views": ["tokens"]}]
    run, of_bytes = told["models"]
    assert run["readings"] == ["bytes", "tokens", "mixed"] and run["saw_pieces"] is True
    assert of_bytes["readings"] == ["bytes"]
    assert "knows raw bytes alone" in of_bytes["cannot"]["tokens"]


def test_nothing_given_still_shows_what_needs_no_training():
    held = open_holdings()
    assert list(held.compressors) == ["bytes", "units of 16 bits", "gzip"]
    assert not held.models and not held.stores


def test_what_comes_twice_is_held_once_and_equal_names_are_numbered(place, tmp_path):
    shutil.copytree(place / "bytes", tmp_path / "bytes")
    runs = [place / "bytes", tmp_path / "bytes"]
    compressors = ["gzip", "gzip:level=9", "gzip:level=1", str(place / "tokens")]
    held = open_holdings(runs, compressors, [place / "store", place / "store"])
    assert list(held.models) == ["bytes", "bytes (2)"]
    assert list(held.stores) == ["store"]
    assert list(held.compressors) == ["bytes", "gzip", "gzip:level=1", "tokens", "units of 16 bits"]


def test_a_model_whose_data_is_gone_takes_its_compressor_among_the_given_ones(place, tmp_path):
    shutil.copytree(place / "run" / "checkpoints", tmp_path / "moved" / "checkpoints")
    alone = open_holdings([tmp_path / "moved"])
    assert alone.as_json()["models"][0]["readings"] == ["bytes"]
    with_tokens = open_holdings([tmp_path / "moved"], [str(place / "tokens")])
    assert with_tokens.as_json()["models"][0]["readings"] == ["bytes", "tokens", "mixed"]


def test_a_run_of_which_one_store_is_gone_is_shown_without_it(place, tmp_path):
    shutil.copytree(place / "run" / "checkpoints", tmp_path / "run" / "checkpoints")
    (tmp_path / "run" / "config.yaml").write_text(
        f"data: [{{store: {place / 'store'}, view: tokens}}, {{store: {tmp_path / 'gone'}}}]\n"
    )
    assert list(open_holdings([tmp_path / "run"]).stores) == ["store"]


def test_what_is_not_there_is_one_line(holdings, tmp_path):
    gone = tmp_path / "gone"
    for given in ({"runs": [gone]}, {"compressors": [str(gone)]}, {"stores": [gone]}):
        with pytest.raises(ProxylmError, match=f"^{gone}: [^\n]+$"):
            open_holdings(**given)
    for ask in (holdings.compressor, holdings.model, holdings.store):
        with pytest.raises(UsageError, match="'none': there is none of that name"):
            ask("none")
