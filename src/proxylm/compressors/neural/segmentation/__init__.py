"""Where documents are cut into segments, each coded on its own (method, section 3)."""
