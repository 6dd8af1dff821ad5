"""JSON on one line, for every program that reads lines.

JSON allows three characters unescaped inside strings at which many readers end a line:
``str.splitlines``, and with it ``httpx.iter_lines`` and ``requests``' ``iter_lines``. Written here,
they are escaped, which every JSON parser undoes.
"""

from __future__ import annotations

import json
from typing import Any

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def json_line(value: Any) -> str:
    r"""``value`` as JSON in a single line, whoever splits it; NaN is refused: it is not JSON.

    >>> json_line(["é\u2028"])
    '["é\\u2028"]'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).translate(_ESCAPED)
