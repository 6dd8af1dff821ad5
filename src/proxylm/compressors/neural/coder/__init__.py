"""Arithmetic coding in equal-information windows, in four forms that agree symbol for symbol.

``interval`` has the recurrence that defines the codes, ``settings`` the choices, ``engine`` the
contract; ``naive``, ``batched``, ``lazy`` and ``automaton_engine`` are its four forms.
"""
