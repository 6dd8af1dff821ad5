"""Table 6: the paper's configurations and figures, and one LM for all rows of a kind."""

from __future__ import annotations

import pytest

import small_neural
from proxylm.cli.main import run
from proxylm.compressors.registry import load_compressor
from proxylm.corpus.left_out import LeftOut
from proxylm.errors import DataError
from proxylm.pipelines import byte_lm_training
from proxylm.recipes import table6
from proxylm.recipes.running import named_recipe, run_recipe
from proxylm.recipes.table6 import ROWS, Table6

PAPER = [
    # segmentation, window bits, pack bits, rho, pass@1
    ({"kind": "fixed", "length": 4}, None, 8, 1.4, 8.5),
    ({"kind": "fixed", "length": 8}, None, 8, 2.0, 3.7),
    ({"kind": "fixed", "length": 16}, None, 8, 2.9, 6.1),
    ({"kind": "lines"}, None, 8, 5.1, 9.8),
    ({"kind": "lines"}, 16, 8, 2.3, 11.6),
    ({"kind": "entropy", "percentile": 98.0}, 16, 8, 1.8, 13.4),
    ({"kind": "entropy", "percentile": 98.0}, 16, 16, 3.5, 18.9),
    ({"kind": "entropy", "percentile": 95.0}, 32, 16, 4.1, 12.2),
    ({"kind": "entropy", "percentile": 95.0}, 16, 16, 3.1, 18.3),
]


def test_the_papers_rows_are_configurations():
    rows = [row for row in ROWS.values() if row.paper is not None]
    assert len(rows) == len(PAPER)
    for row, (segmentation, window_bits, pack_bits, rho, pass_at_1) in zip(
        rows, PAPER, strict=True
    ):
        found = row.settings.segmentation.model_dump()
        assert segmentation.items() <= found.items()
        coder = row.settings.coder
        assert (coder.window_bits, coder.pack_bits) == (window_bits, pack_bits)
        assert coder.termination.kind == "determined"
        assert row.paper == {"rho": rho, "pass@1": pass_at_1}
        assert row.contexts == "long"


def test_the_projects_own_rows_differ_in_one_thing_each():
    own = {name: row for name, row in ROWS.items() if row.paper is None}
    assert set(own) == {
        "entropy-95-16-16-minimal",
        "automaton-95-16-16",
        "entropy-95-16-16-short",
        "automaton-95-16-16-short",
    }
    reference = ROWS["entropy-95-16-16"]
    assert own["entropy-95-16-16-short"].settings == reference.settings
    assert own["automaton-95-16-16"].settings.coder == reference.settings.coder


SOME = ("fixed-8-none-8", "entropy-95-16-16", "automaton-95-16-16")


@pytest.fixture
def small_recipe(tmp_path, monkeypatch):
    """Table 6 with a byte LM that is trained in seconds."""
    monkeypatch.setitem(byte_lm_training.RECIPES, "small", small_neural.RECIPE)
    corpus = small_neural.write_corpus(tmp_path / "corpus")
    overrides = [
        f"corpus.path={corpus}",
        "preset=small",
        "held_out_fraction=0.2",
        "measured_bytes=4000",
        "device=cpu",
    ]
    return named_recipe("table6", overrides)


def test_rows_share_one_lm_and_a_stopped_run_goes_on(small_recipe, tmp_path, monkeypatch):
    monkeypatch.setattr(table6, "ROWS", {name: ROWS[name] for name in SOME})
    monkeypatch.setattr(Table6, "rows", SOME)
    out = tmp_path / "out"
    heard: list[str] = []

    def stopped(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(table6, "measure", stopped)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(small_recipe, out, heard.append)
    built = {path.name for path in (out / "compressors").iterdir()}
    assert built == {"fixed-8-none-8", "entropy-95-16-16"}
    assert not list((out / "rows").iterdir())

    result = run_recipe(small_recipe, out, heard.append)
    assert sum(line.startswith("training the byte LM") for line in heard) == 1
    check_rows(result, out, SOME)
    by_row = {one["row"]: one for one in result["rows"]}
    assert by_row["entropy-95-16-16"]["paper"] == {"rho": 3.1, "pass@1": 18.3}
    assert by_row["automaton-95-16-16"]["paper"] is None
    lines = (out / "table.md").read_text().splitlines()
    assert "paper's ρ" in lines[0] and len(lines) == 2 + len(SOME)
    assert "| 3.1 | 18.3 |" in lines[3]

    # Another run with the LM of that one trains none.
    given = small_recipe.settings.model_copy(
        update={"long_lm": out / "compressors" / "fixed-8-none-8"}
    )
    heard.clear()
    again = Table6(given).run_row("fixed-8-none-8", tmp_path / "again", heard.append)
    assert again["fingerprint"] == by_row["fixed-8-none-8"]["fingerprint"]
    assert not any(line.startswith("training") for line in heard)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_every_row_runs(small_recipe, tmp_path):
    heard: list[str] = []
    result = run_recipe(small_recipe, tmp_path / "out", heard.append)
    # One LM for the rows on whole documents, another for short contexts.
    assert sum(line.startswith("training the byte LM") for line in heard) == 2
    check_rows(result, tmp_path / "out", ROWS)


def check_rows(result, out, names):
    assert [one["row"] for one in result["rows"]] == list(names)
    lms: dict[str, set[str]] = {"long": set(), "short": set()}
    for one in result["rows"]:
        assert one["rho"] == one["num_bytes"] / one["symbols"] > 1
        assert one["num_bytes"] >= 4000
        compressor = load_compressor(out / "compressors" / one["row"])
        assert compressor.fingerprint == one["fingerprint"]
        lms[one["contexts"]].add(compressor.lm.fingerprint)
    assert len(lms["long"]) == 1 and len(lms["short"]) <= 1
    assert lms["long"].isdisjoint(lms["short"])


def test_a_row_without_measured_text_is_an_error(small_recipe):
    settings = small_recipe.settings.model_copy(update={"held_out_fraction": 0.0})
    corpus = table6.open_corpus(settings.corpus)
    with pytest.raises(DataError, match="its held-out part has no documents"):
        list(Table6(settings)._documents(corpus, LeftOut()))
    assert len(list(small_recipe._documents(corpus, LeftOut()))) > 1


def test_a_recipe_says_why_there_is_nothing_to_train_on(tmp_path, capsys):
    (tmp_path / "a.jsonl").write_text('[{"text": "a"}]\n{"text": "long enough"}\n')
    corpus = [f"corpus.path={tmp_path / 'a.jsonl'}", "corpus.max_document_bytes=20"]
    assert run(["recipe", "run", "table6", "--out", str(tmp_path / "out"), *corpus]) == 1
    reasons = "1 invalid_json (first: a.jsonl:1: not an object)", "1 too_long (first: a.jsonl:2"
    line = capsys.readouterr().err.splitlines()[-1]
    assert all(reason in line for reason in reasons) and "raise max_document_bytes" in line
