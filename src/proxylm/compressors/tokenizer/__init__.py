"""Tokenizers as proxy compressors (method, section 4.1): the main one."""

from proxylm.compressors.tokenizer.compressor import TokenizerCompressor

__all__ = ["TokenizerCompressor"]
