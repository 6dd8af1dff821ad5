"""The part that runs inside the sandbox: a few modules of plain Python, standard library only.

``start.py`` is run as a script with its folder on the path, so the modules here import each
other by bare name and nothing of the rest of proxylm. What happens in the worker is never
believed: the candidate shares its process and may alter all of it.
"""
