"""Where documents are cut into segments, each coded on its own (method, section 3).

``contract`` says what a rule is: a configuration that is fitted on a sample and makes a
``Segmenter``. Each rule has a file of its own: ``fixed``, ``lines``, ``entropy`` (the paper's; its
scores come from ``boundary_pass``) and ``automaton`` (its kernels are ``automaton_walks``).
``rules`` lists them.
"""
