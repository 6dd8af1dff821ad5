"""ReCode: does a change of the prompt that keeps its meaning change the result?

Its scores: docs/evaluation.md, "Robustness: ReCode".
``folder`` reads the released data, ``statistics`` has the scores, ``evaluation`` runs a model.
"""
