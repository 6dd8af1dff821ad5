"""Arithmetic coding in equal-information windows, in four forms that agree symbol for symbol.

``interval`` has the recurrence that defines the codes, ``windows`` what one code covers,
``settings`` the choices, ``contract`` what an engine is. The four engines stand in
``lm_engines`` (two of them), ``lazy`` and ``automaton_engine``; ``engines`` finds them by name.
Kernels compute the same recurrence in machine words (``words``).
"""
