"""Where documents are cut into segments, each coded on its own (method, section 3).

``contract`` says what a rule is: a configuration that is fitted on a sample and makes a
``Segmenter``. ``simple`` has the two without thresholds, ``entropy`` the paper's (its scores come
from ``boundary_pass``), ``automaton`` the project's own (its kernels are ``automaton_walks``).
``compressors.neural.settings`` lists them.
"""
