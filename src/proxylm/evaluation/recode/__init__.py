"""ReCode: does a change of the prompt that keeps its meaning change the result? (method, section 9)

``folder`` reads the released data, ``statistics`` has the scores, ``evaluation`` runs a model.
"""
