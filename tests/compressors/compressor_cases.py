"""Trainings, documents and checks that the tests of all compressors share."""

from __future__ import annotations

from proxylm.compressors.contract import Compressor
from proxylm.compressors.tokenizer.training import (
    BpeTraining,
    Lines,
    SuperWords,
    UnigramTraining,
)

LINES = [
    "def area(radius):\n    return 3.14159 * radius ** 2\n",
    "class Shape:\n    def __init__(self, name):\n        self.name = name\n\n",
    "for index in range(10):\n    print('index', index)  # it's a loop\n",
    "the quick brown fox jumps over the lazy dog\r\n",
    "Größe, Ελλάδα, Привет, 漢字かな: 1234567\n",
]
TEXTS = [line * (3 + number) for number, line in enumerate(LINES)] * 4

TRAININGS = {
    "bpe": BpeTraining(vocabulary_size=400),
    "line": BpeTraining(vocabulary_size=400, pre_tokenization=Lines()),
    "superbpe": BpeTraining(vocabulary_size=400, pre_tokenization=SuperWords(first_stage=0.85)),
    "unigram": UnigramTraining(vocabulary_size=400),
    "unigram-line": UnigramTraining(vocabulary_size=400, pre_tokenization=Lines()),
}
ODD_DOCUMENTS = [
    b"",
    b"\x00",
    b"a",
    b"ab\x00",
    b"odd",
    b"\xff",
    b"\xc3",
    b"text \xff\xfe\x80 more\xe2\x82",
    b"\xed\xa0\x80 surrogate",
    bytes(range(256)) * 3,
    b" \r\n\r\n\t  \n",
    "Größe 漢字 🤗 e\u0301 \u2028".encode(),
    b"<|endoftext|></s><unk><raw></raw><0x41>",
    "▁▁ meta ▁space".encode(),
    LINES[0].encode() * 40,
]


def check_views(compressor: Compressor, documents: list[bytes]) -> None:
    """What holds for every reversible compressor on every document it takes."""
    for raw, view in zip(documents, compressor.encode(documents), strict=True):
        symbols, anchors = view.symbols, view.anchors
        assert symbols.dtype == "uint32" and symbols.ndim == 1
        assert not symbols.size or symbols.max() < compressor.symbol_count
        assert compressor.decompress([symbols]) == [raw]
        assert anchors.dtype == "uint32" and anchors.shape[1:] == (2,)
        previous = (0, 0)
        for byte, symbol in anchors.tolist():
            assert previous[0] < byte < len(raw) and previous[1] < symbol < len(symbols)
            assert compressor.decompress([symbols[:symbol]]) == [raw[:byte]]
            previous = (byte, symbol)
