"""Modelling code that travels inside an exported EvaByte folder; proxylm itself never imports it.

Each file needs torch and transformers alone, so that the folder works where proxylm is not
installed. ``interchange.export`` copies them as they stand.
"""
