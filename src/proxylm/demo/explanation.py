"""What a newcomer should make of the demo's numbers; shown under its table and in its report."""

from __future__ import annotations

TOKENS = """\
All four models have the same body and saw the same number of symbols. A token stands for several
bytes, so the tokens model saw more text for the same work; the byte model saw the least. The proxy
models saw mostly tokens and some bytes, and are meant to be used on bytes alone.

What to expect at this size: read as tokens, the proxies come close to the tokens model; read as
bytes, they stay behind the byte model, because little of what was learned on tokens carries over
to bytes yet. That is what the paper reports for small models, too ("Proxy Compression for Language
Modeling", arXiv 2602.04289, Table 1): the transfer grows with scale, and from 7B parameters on the
proxy models match or beat the tokenizer models. Completions are noise at this size."""

NEURAL = """\
All models have the same body and saw the same number of symbols. The proxies saw mostly codes of a
neural compressor: a small byte model and arithmetic coding, in windows of 16 bits that are written
as two symbols. The codes cannot be read back, so there is no reading as symbols: what counts is how
well the proxies predict bytes.

What to expect at this size: the byte model is ahead, because little of what was learned on codes
carries over to bytes yet. That is what the paper reports for small models ("Proxy Compression for
Language Modeling", arXiv 2602.04289, Table 1); the transfer grows with scale. The paper packs 16
bits into one symbol and cuts segments by the byte model's entropy; here, symbols of 8 bits keep the
vocabulary small and the compressor's own table finds the segments. Completions are noise."""

EXPLANATIONS = {"bpe": TOKENS, "neural": NEURAL}
"""By kind of the demo's compressor."""
