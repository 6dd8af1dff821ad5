"""Byte, token and mixture language models: EvaByte and a Llama-style baseline."""
