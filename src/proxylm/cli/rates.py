"""``proxylm rates``: what a rate, a schedule and pairs do to the samples in a step (appendix A)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from proxylm.cli.output import JsonOption, emit, table
from proxylm.errors import UsageError
from proxylm.limits import MAX_CONTEXT, MAX_STEPS

if TYPE_CHECKING:
    from proxylm.data.mixture import Mixture


def rates(
    rho: Annotated[float, typer.Option(help="The compressor's rate: bytes per symbol.")],
    rate: Annotated[
        float, typer.Option(min=0, max=1, help="Share of views shown compressed, r.")
    ] = 0.9,
    schedule: Annotated[
        Literal["warmup", "constant"], typer.Option(help="How r is reached.")
    ] = "warmup",
    start: Annotated[
        float, typer.Option(min=0, max=1, help="r at the first step of a warm-up.")
    ] = 0.4,
    fraction: Annotated[
        float, typer.Option(min=0, max=1, help="Share of the steps that is warm-up.")
    ] = 0.2,
    pairs: Annotated[
        Literal["none", "warmup", "always"],
        typer.Option(help="When translation pairs are shown."),
    ] = "warmup",
    pieces: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Mix inside documents: least and most symbols of a piece."),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, max=MAX_STEPS, help="Steps of the run.")] = 50_000,
    mean_length: Annotated[
        float | None, typer.Option(help="Mean bytes per document, to predict a real loader.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            min=16, max=MAX_CONTEXT, help="Symbols per context, to predict a real loader."
        ),
    ] = None,
    overflow: Annotated[
        Literal["continue", "plain", "truncate"],
        typer.Option(help="What happens to a document at a context's end."),
    ] = "continue",
    sentinels: Annotated[bool, typer.Option(help="Whether sentinels surround the views.")] = True,
    json: JsonOption = False,
) -> None:
    """Samples per step against a raw-byte model that sees the same number of symbols per step.

    The formulas count content alone. With --mean-length and --context the special symbols, the
    cuts and the padding of a real loader are counted too (with --overflow truncate for documents of
    exponential lengths: what is dropped depends on all of them).

    Example: proxylm rates --rho 3.7 --rate 0.9 --mean-length 5000 --context 4096
    """
    from proxylm.config import validate_config
    from proxylm.data.mixture import Mixture

    _check_positive("--rho", rho)
    # Only the warm-up kind has a length of its own.
    length = {"fraction": fraction} if pairs == "warmup" else {}
    granularity: dict[str, Any] = {"kind": "document", "pairing": {"kind": pairs} | length}
    if pieces:
        granularity = {"kind": "piece", "min_symbols": pieces[0], "max_symbols": pieces[1]}
    changes = {"kind": "constant", "rate": rate}
    if schedule == "warmup":
        changes = {"kind": "warmup", "start": start, "end": rate, "fraction": fraction}
    values = {"rate": changes, "granularity": granularity, "sentinels": sentinels}
    mixing = validate_config(Mixture, values | {"overflow": overflow}, origin="options")
    result: dict[str, Any] = {"rho": rho, "rate": rate, "steps": steps}
    result |= _formulas(rho, rate, start, mixing, steps)
    if mean_length is not None or context is not None:
        if mean_length is None or context is None:
            raise UsageError("--mean-length and --context go together: a loader has both")
        _check_positive("--mean-length", mean_length)
        result["loader"] = _prediction(rho, mixing, mean_length, context, steps)
    emit(result, as_json=json, text=_text(result))


def _check_positive(name: str, value: float) -> None:
    if not (value > 0 and math.isfinite(value)):
        raise UsageError(f"{name} must be a number greater than 0 (given: {value})")


def _formulas(rho: float, rate: float, start: float, mixing: Mixture, steps: int) -> dict[str, Any]:
    """Appendix A, samples per step relative to the raw-byte model's."""
    from proxylm.data.rates import (
        mean_over_steps,
        mean_over_warm_up,
        samples_per_step,
        view_shares,
    )

    shares = view_shares(rate, True)
    return {
        "compressed_only": rho,
        "mixed": float(samples_per_step(rho, rate, False)),
        "with_pairs": float(samples_per_step(rho, rate, True)),
        "shares_with_pairs": {
            name: float(getattr(shares, name)) for name in ("compressed", "pair", "raw")
        },
        "warm_up_mean": mean_over_warm_up(rho, start, rate, has_pairs=False),
        "warm_up_mean_with_pairs": mean_over_warm_up(rho, start, rate, has_pairs=True),
        "whole_schedule": mean_over_steps(rho, mixing, steps),
    }


def _prediction(
    rho: float, mixing: Mixture, mean_length: float, context: int, steps: int
) -> dict[str, float]:
    from proxylm.data.mixture import Mixture
    from proxylm.data.prediction import DataSize, documents_per_context

    data = DataSize(mean_bytes=mean_length, rho=rho)
    ours = documents_per_context(data, mixing, context=context, total_steps=steps).mean()
    kept = {"sentinels": mixing.sentinels, "overflow": mixing.overflow}
    bytes_only = Mixture.bytes_only().model_copy(update=kept)
    raw = documents_per_context(data, bytes_only, context=context, total_steps=1).mean()
    return {
        "mean_length": mean_length,
        "context": context,
        "documents_per_context": float(ours),
        "raw_bytes_per_symbol": float(ours * mean_length / context),
        "relative_to_raw_bytes": float(ours / raw),
    }


def _text(result: dict[str, Any]) -> str:
    shares = result["shares_with_pairs"]
    rows = [
        ["compressed only", f"{result['compressed_only']:.3f}"],
        [f"mixed, r = {result['rate']:g}", f"{result['mixed']:.3f}"],
        [f"with pairs, r = {result['rate']:g}", f"{result['with_pairs']:.3f}"],
        ["mean over the warm-up", f"{result['warm_up_mean']:.3f}"],
        ["mean over the warm-up, with pairs", f"{result['warm_up_mean_with_pairs']:.3f}"],
        [f"whole schedule, {result['steps']} steps", f"{result['whole_schedule']:.3f}"],
    ]
    lines = [table([f"rho = {result['rho']:g}", "samples per step"], rows), ""]
    lines.append(
        f"with pairs, samples are: compressed {shares['compressed']:.4f}, "
        f"pair {shares['pair']:.4f}, raw {shares['raw']:.4f}"
    )
    if "loader" in result:
        loader = result["loader"]
        lines.append(
            f"a loader of context {loader['context']}, documents of {loader['mean_length']:g} "
            f"bytes: {loader['documents_per_context']:.4g} documents per context, "
            f"{loader['raw_bytes_per_symbol']:.3f} raw bytes per symbol, "
            f"{loader['relative_to_raw_bytes']:.3f} times a raw-byte loader's"
        )
    return "\n".join(lines)
