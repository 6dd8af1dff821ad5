from __future__ import annotations

import pytest

from proxylm.errors import one_line


@pytest.mark.parametrize(
    ("reason", "line"),
    [
        (ValueError("error:\n    (\n    ^\nunclosed group"), "error: ( ^ unclosed group"),
        (RuntimeError("in loading:\n\tMissing key"), "in loading: Missing key"),
        (KeyError(), "KeyError"),
        (ValueError("\n"), "ValueError"),
        ("at\r\nonce", "at once"),
    ],
)
def test_a_reason_is_told_whole_on_one_line(reason: object, line: str) -> None:
    assert one_line(reason) == line
