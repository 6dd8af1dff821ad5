"""From views to packed contexts: the mixture, the plan and batches (method, section 4)."""
