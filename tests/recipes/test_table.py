"""From records to a table: numbers, seeds, readings, dashes with reasons, pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxylm.config import validate_config
from proxylm.files import write_json
from proxylm.recipes import artifacts
from proxylm.recipes.artifacts import Run, compressor_for
from proxylm.recipes.engine import make_all
from proxylm.recipes.plan import Plan, plan_of
from proxylm.recipes.recipe import Recipe, read_recipe
from proxylm.recipes.scale import read_scale
from proxylm.recipes.table import Results, picture_of, write_results
from proxylm.training.loop import TrainingDivergedError

MICRO = read_scale("micro")
RECIPE = {
    "title": "Table 0: two runs",
    "section": "§9",
    "statement": "One is better.",
    "caution": "Take care.",
    "runs": {"proxy": "paper/table14/95-5", "bytes": "paper/table1/1.5b-byte"},
    "compressors": {"gzip": "gzip"},
    "measures": {
        "training": {"kind": "training"},
        "bits": {"kind": "held-out"},
        "rate": {"kind": "compression"},
    },
    "columns": {
        "bits": {"value": "bits.own.bits_per_byte", "form": ".2f"},
        "tokens": {"value": "bits.tokens.bits_per_byte"},
        "half": {"value": "training.symbols", "form": ",", "at": 0.5},
        "ρ": {"value": "rate.bytes_per_symbol", "form": ".1f"},
        "never": {"value": "rate.nodes"},
    },
    "paper": {"proxy": {"pass@1": 15.9}},
    "checkpoints": [0.5],
    "plot": {
        "x": "training.symbols",
        "y": {"": "bits.own.bits_per_byte"},
        "x_label": "symbols",
        "y_label": "bits",
    },
}


def plan(seeds: int = 1, **changes: Any) -> Plan:
    return plan_of(validate_config(Recipe, RECIPE | changes), MICRO, seeds=seeds)


def record(one: Plan, pool: Path, row: str, name: str, *results: dict[str, Any], **more: Any):
    for measurement, result in zip(one.measurements(row, name, **more), results, strict=True):
        path = measurement.record_file(pool)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, {"result": result})


def bits(as_bytes: float | None, as_tokens: float | None) -> dict[str, Any]:
    return {
        name: {"reason": f"no {name}"} if value is None else {"bits_per_byte": value}
        for name, value in (("bytes", as_bytes), ("tokens", as_tokens))
    }


def test_numbers_stand_beside_the_papers_and_dashes_have_reasons(tmp_path: Path) -> None:
    runs = {"proxy": "paper/table14/95-5", "of tokens": "paper/table1/1.5b-tokenizer"}
    found = plan(runs=runs)
    record(found, tmp_path, "proxy", "bits", bits(2.5, 1.5))
    record(found, tmp_path, "of tokens", "bits", bits(None, 2.0))
    record(found, tmp_path, "proxy", "training", {"symbols": 1000}, share=0.5)
    record(found, tmp_path, "gzip", "rate", {"bytes_per_symbol": 2.0, "nodes": None})
    table = write_results(found, tmp_path, tmp_path / "out")
    page = (tmp_path / "out" / "table.md").read_text()
    assert page.splitlines()[:8] == [
        "# Table 0: two runs",
        "",
        "Paper §9. One is better.",
        "",
        "| row | bits | tokens | half | ρ | paper: pass@1 |",
        "|---|---|---|---|---|---|",
        "| proxy | 2.50 | 1.500 | 1,000 | – | 15.9 |",
        "| of tokens | 2.00 | 2.000 | – | – | – |",
    ]
    assert "| gzip | – | – | – | 2.0 | – |" in page
    assert "Take care." in page and MICRO.notes[0] in page
    assert "– half of of tokens: not measured yet" in page
    assert "– never: not measured at this scale" in page
    assert json.loads((tmp_path / "out" / "table.json").read_text()) == table
    assert table["rows"][0]["cells"]["bits"] == {"value": 2.5, "values": [2.5]}
    assert table["rows"][2]["cells"]["bits"]["value"] is None


def test_a_reading_that_failed_is_not_replaced_by_the_other(tmp_path: Path) -> None:
    found = plan()
    record(found, tmp_path, "proxy", "bits", bits(None, 1.5))
    cell = Results(found, tmp_path).cell("proxy", "bits.own.bits_per_byte")
    assert (cell.value, cell.reason) == (None, "no bytes")


def test_seeds_are_a_mean_and_its_spread(tmp_path: Path) -> None:
    found = plan(seeds=3)
    assert len({one.key for one in found.runs["proxy"]}) == 3
    results = [bits(value, None) for value in (2.0, 2.5, 3.0)]
    record(found, tmp_path, "proxy", "bits", *results)
    cell = Results(found, tmp_path).cell("proxy", "bits.bytes.bits_per_byte")
    assert cell.text(".2f") == "2.50 ± 0.50"
    # What one seed has not is not in the mean.
    cell = Results(found, tmp_path).cell("proxy", "bits.tokens.bits_per_byte")
    assert (cell.text(".2f"), cell.reason) == ("–", "no tokens")


def test_pictures_over_checkpoints_rows_and_distributions(tmp_path: Path) -> None:
    found = plan()
    assert picture_of(Results(found, tmp_path)) is None
    for row, start in (("proxy", 3.0), ("bytes", 4.0)):
        for share in (0.5, 1.0):
            record(found, tmp_path, row, "bits", bits(start - share, 1.0), share=share)
            record(found, tmp_path, row, "training", {"symbols": 1000 * share}, share=share)
    histogram = {"bytes_per_symbol_histogram": {"2": 1, "1": 3}, "lcp": [0, 4]}
    record(found, tmp_path, "gzip", "rate", histogram)
    over_checkpoints = picture_of(Results(found, tmp_path))
    assert over_checkpoints is not None
    assert "proxy (2.00)" in over_checkpoints and "bytes (3.00)" in over_checkpoints

    plot = RECIPE["plot"] | {"over": "rows", "series": {"both": ["proxy", "bytes"]}}
    plot |= {"y": {"one": "bits.own.bits_per_byte", "two": "bits.tokens.bits_per_byte"}}
    picture = picture_of(Results(plan(plot=plot), tmp_path))
    assert picture is not None and "both, one (3.00)" in picture and "both, two (1.00)" in picture

    for place in ("bytes_per_symbol_histogram", "lcp"):
        plot = RECIPE["plot"] | {"over": "distribution", "x": "", "y": {"": f"rate.{place}"}}
        picture = picture_of(Results(plan(plot=plot), tmp_path))
        assert picture is not None and "gzip (" in picture and "proxy" not in picture


def test_recipes_share_runs_and_other_settings_do_not() -> None:
    def run(recipe: str, row: str, **changes: Any) -> Run:
        scale = MICRO.model_copy(update=changes)
        return plan_of(read_recipe(recipe), scale).runs[row][0]

    first = run("table13", "warm-up random (rising)")
    assert run("table1", "1.5b proxy-tokenizer").key == first.key
    assert run("table13", "none").key != first.key
    assert run("table1", "1.5b proxy-tokenizer", device="auto").key == first.key
    assert run("table1", "1.5b proxy-tokenizer", steps=40).key != first.key
    larger = {"stores/python": MICRO.corpora["stores/full-corpus"]}
    assert run("table1", "1.5b proxy-tokenizer", corpora=MICRO.corpora | larger).key != first.key
    wanted = plan_of(read_recipe("table5"), MICRO).artifacts()
    assert len({one.key for one in wanted}) == len(wanted)
    # Two views of one content are one folder, whatever they are called.
    views = (
        compressor_for("tokenizer", "stores/python", MICRO),
        compressor_for("two-bytes", "stores/python", MICRO),
    )
    assert views[0].folder(Path("pool")) == views[1].folder(Path("pool"))


def test_a_run_that_diverges_is_a_dash_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def diverge(*_: Any) -> None:
        raise TrainingDivergedError("step 3: the loss is nan")

    monkeypatch.setattr(artifacts, "train", diverge)
    columns = {"bits": RECIPE["columns"]["bits"]}
    runs = {"bytes": "paper/table1/1.5b-byte"}
    measures = {"bits": {"kind": "held-out"}}
    found = plan(runs=runs, compressors={}, columns=columns, measures=measures, paper={}, plot=None)
    make_all(found.artifacts(), tmp_path)
    [row] = write_results(found, tmp_path, tmp_path / "out")["rows"]
    assert row["cells"]["bits"]["reason"] == "diverged: step 3: the loss is nan"
    # It is not trained again.
    monkeypatch.setattr(artifacts, "train", None)
    make_all(found.artifacts(), tmp_path)
