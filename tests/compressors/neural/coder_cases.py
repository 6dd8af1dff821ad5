"""Settings and segments that the coder's tests share."""

from __future__ import annotations

from itertools import product

from fake_lm import RUN_BYTES
from hypothesis import strategies as st

from proxylm.compressors.neural.coder.settings import (
    MAX_SEGMENT_BYTES,
    CoderSettings,
    DeterminedTermination,
    MinimalTermination,
)

TERMINATIONS = (DeterminedTermination(), MinimalTermination())

ALL_SETTINGS = [
    CoderSettings(window_bits=window_bits, pack_bits=pack_bits, termination=termination)
    for window_bits, pack_bits, termination in product((16, 32, None), (8, 16), TERMINATIONS)
]


def settings_name(settings: CoderSettings) -> str:
    """A short name for test ids."""
    return f"{settings.window_bits}-{settings.pack_bits}-{settings.termination.kind}"


def segments(max_bytes: int) -> st.SearchStrategy[bytes]:
    """Binary, single bytes, UTF-8, long runs, runs with something behind, and nothing."""
    long_runs = st.builds(
        lambda byte, count, rest: bytes([byte]) * count + rest,
        st.sampled_from(RUN_BYTES),
        st.integers(1, MAX_SEGMENT_BYTES - 8),
        st.binary(max_size=8),
    )
    # Of a byte that windows hold few of: the oracle is slow on many windows.
    short_runs = st.integers(1, max_bytes).map(lambda count: b"\xff" * count)
    return st.one_of(
        st.binary(max_size=max_bytes),
        st.binary(min_size=1, max_size=1),
        st.text(max_size=max_bytes // 4).map(str.encode),
        st.text(alphabet=" aeiou\n", max_size=max_bytes).map(str.encode),
        st.just(b""),
        long_runs,
        short_runs,
    )
