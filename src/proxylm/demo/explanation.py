"""What a newcomer should make of the demo's numbers; shown under its table and in its report."""

from __future__ import annotations

EXPLANATION = """\
All four models have the same body and saw the same number of symbols. A token stands for several
bytes, so the tokens model saw more text for the same work; the byte model saw the least. The proxy
models saw mostly tokens and some bytes, and are meant to be used on bytes alone.

What to expect at this size: read as tokens, the proxies come close to the tokens model; read as
bytes, they stay behind the byte model, because little of what was learned on tokens carries over
to bytes yet. That is what the paper reports for small models, too ("Proxy Compression for Language
Modeling", arXiv 2602.04289, Table 1): the transfer grows with scale, and from 7B parameters on the
proxy models match or beat the tokenizer models. Completions are noise at this size."""
