"""From views to packed contexts: rates, pairing, the plan and the loader (method, section 4)."""
