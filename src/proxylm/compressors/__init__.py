"""Proxy compressors behind one contract (method, section 3)."""
