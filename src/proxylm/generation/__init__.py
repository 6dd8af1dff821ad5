"""Running a trained model on bytes: loading, sampling, decoding (method, section 7)."""
