"""JSON on one line: written for every program that reads lines, read whatever it holds.

JSON allows three characters unescaped inside strings at which many readers end a line:
``str.splitlines``, and with it ``httpx.iter_lines`` and ``requests``' ``iter_lines``. Written here,
they are escaped, which every JSON parser undoes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

_ESCAPED = {ord(character): f"\\u{ord(character):04x}" for character in "\x85\u2028\u2029"}


def json_line(value: Any) -> str:
    r"""``value`` as JSON in a single line, whoever splits it; NaN is refused: it is not JSON.

    >>> json_line(["é\u2028"])
    '["é\\u2028"]'
    """
    return json.dumps(value, ensure_ascii=False, allow_nan=False).translate(_ESCAPED)


def parse_json(text: str, make_object: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """The value of a JSON text; an integer of more digits than Python reads (4300) is infinite.

    ``make_object`` makes an object of its members, in order; None: a ``dict``.

    Raises:
        ValueError: it is no JSON.
        RecursionError: it is nested deeper than the parser goes.
    """
    try:
        return json.loads(text, object_pairs_hook=make_object)
    except json.JSONDecodeError:
        raise
    except ValueError:
        # Sound JSON; only these rare texts pay for a Python call at each of their integers.
        return json.loads(text, object_pairs_hook=make_object, parse_int=_number)


def _number(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:
        return float(digits)
