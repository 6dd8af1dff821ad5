"""Completions for many prompts and their verdicts: generated, written down, judged, resumed.

``writers`` run a model on prompts, ``samples`` makes the completions, ``judging`` has them run in
the sandbox, ``folder`` keeps both as JSON lines.
"""
