"""Neural proxy compressors: a byte LM, arithmetic coding in windows (method, section 3)."""
