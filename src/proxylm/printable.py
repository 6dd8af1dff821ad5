"""Text of unknown origin (file names, model output) made safe to show.

A terminal obeys control characters, an HTML or SVG parser chokes on them, and half a surrogate
pair (Python's form of a byte of a file name that is not UTF-8) cannot be encoded at all. What is
shown goes through here; what is stored stays as it is.
"""

from __future__ import annotations

import re

# C0 and C1 controls, line and paragraph separators, bidirectional overrides, surrogates. Other
# invisible characters (joiners, wide spaces) belong to names in many scripts.
_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str, keep: str = "") -> str:
    r"""``text`` with what must not reach a terminal or a document written as an escape.

    Characters in ``keep`` stay as they are (line ends for instance).

    >>> print(printable("red \x1b[31m and caf\udce9"))
    red \x1b[31m and caf\xe9
    """
    return _UNSAFE.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), text)


def _escape(character: str) -> str:
    is_byte_of_a_name = "\udc80" <= character <= "\udcff"
    shown = chr(ord(character) - 0xDC00) if is_byte_of_a_name else character
    return shown.encode("unicode_escape").decode("ascii")
