from __future__ import annotations

import json

import pytest

from proxylm.cli.main import run


def rates(capsys: pytest.CaptureFixture[str], *options: str) -> dict:
    assert run(["rates", *options, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_the_papers_figures(capsys):
    result = rates(capsys, "--rho", "3.7", "--rate", "0.9")
    assert result["compressed_only"] == 3.7
    assert result["mixed"] == pytest.approx(2.913, abs=5e-4)
    assert result["with_pairs"] == pytest.approx(2.622, abs=5e-4)
    assert result["warm_up_mean_with_pairs"] == pytest.approx(1.379, abs=5e-4)
    assert result["whole_schedule"] == pytest.approx(2.606, abs=5e-4)
    assert result["shares_with_pairs"]["pair"] == pytest.approx(1 / 9)
    assert "loader" not in result


def test_schedules_and_pairs_are_chosen(capsys):
    constant = rates(capsys, "--rho", "2", "--schedule", "constant", "--pairs", "none")
    assert constant["whole_schedule"] == pytest.approx(constant["mixed"])
    always = rates(capsys, "--rho", "2", "--schedule", "constant", "--pairs", "always")
    assert always["whole_schedule"] == pytest.approx(always["with_pairs"])


def test_a_loader_is_predicted_from_mean_length_and_context(capsys):
    options = ["--rho", "3.7", "--mean-length", "5000", "--context", "4096"]
    loader = rates(capsys, *options)["loader"]
    assert 2.55 < loader["relative_to_raw_bytes"] < 2.606
    assert loader["documents_per_context"] == pytest.approx(
        loader["raw_bytes_per_symbol"] * 4096 / 5000
    )
    bare = rates(capsys, *options, "--no-sentinels")["loader"]
    assert bare["documents_per_context"] > loader["documents_per_context"]
    pieces = rates(capsys, *options, "--pieces", "16", "160")["loader"]
    assert pieces["documents_per_context"] != loader["documents_per_context"]


def test_a_loader_that_truncates_is_predicted(capsys):
    options = ["--rho", "3.7", "--mean-length", "5000", "--context", "4096", "--steps", "1000"]
    whole = rates(capsys, *options)["loader"]
    cut = rates(capsys, *options, "--overflow", "truncate")["loader"]
    assert cut["documents_per_context"] > whole["documents_per_context"]
    # A byte loader drops more of its documents, so less is gained by showing them compressed.
    assert 1 < cut["relative_to_raw_bytes"] < whole["relative_to_raw_bytes"]


def test_the_readable_form(capsys):
    assert run(["rates", "--rho", "3.7", "--mean-length", "900", "--context", "512"]) == 0
    text = capsys.readouterr().out
    for figure in ("2.913", "2.622", "1.379", "2.606", "documents per context"):
        assert figure in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--rho", "0"], "--rho must be"),
        (["--rho", "nan"], "--rho must be"),
        (["--rho", "3", "--rate", "1.5"], "rate"),
        (["--rho", "3", "--rate", "nan"], "rate"),
        (["--rho", "3", "--mean-length", "50"], "go together"),
        (["--rho", "3", "--mean-length", "-1", "--context", "99"], "--mean-length must be"),
        (["--rho", "3", "--steps", str(10**11)], "--steps"),
        (["--rho", "3", "--mean-length", "500", "--context", str(10**11)], "--context"),
        (["--rho", "3", "--mean-length", "500", "--context", "15"], "--context"),
        (["--rho", "3", "--pieces", "9", "3"], "max_symbols (3) is less"),
        (["--rho", "3", "--schedule", "cosine"], "cosine"),
        ([], "--rho"),
    ],
)
def test_mistakes_are_one_line(capsys, options: list[str], message: str):
    assert run(["rates", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err
    assert captured.err.count("\n") == 1
