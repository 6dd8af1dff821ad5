"""The prefill benchmark at a tiny size."""

from __future__ import annotations

from test_generate_benchmark import TINY

from proxylm.bench import prefill


def test_its_row_says_how_much_shorter_the_prompt_is(monkeypatch, tmp_path) -> None:
    for name in ("prompt", "other"):
        (tmp_path / f"{name}.py").write_text("def area(radius):\n    return 3 * radius\n" * 20)
    monkeypatch.setattr(prefill, "PROMPT_FILE", tmp_path / "prompt.py")
    [row] = prefill.run_prefill_benchmark(config=TINY, tokens=270, prompt_bytes=300, repeats=1)
    assert (row.case, row.unit) == ("generate/laptop/prefill-mixed", "bytes/s")
    assert row.value > 0 and row.yardstick > 0
    assert "of 300 bytes read as bytes; mixed it is" in row.yardstick_is
