"""A trained model over HTTP: OpenAI's completions, decoded together, within limits."""
