"""Tokenizers as proxy compressors (method, section 3): the main one."""

from proxylm.compressors.tokenizer.compressor import TokenizerCompressor

__all__ = ["TokenizerCompressor"]
