"""The fast training path on a CPU: the two halves of a block as hand-written forward and backward.

Every piece is a pair of functions, forward and backward, that work through rows in blocks small
enough to stay in cache and write into buffers that exist already; the plain modules beside it
(``blocks``, ``attention.DenseForm``) are the reference the tests compare with.

The letters of every shape in this folder:

    R  rows: all positions of a batch, ``B`` contexts of ``N`` one after the other (``R = B N``)
    H  heads of queries; ``H_kv`` of keys and values, each shared by ``H / H_kv`` of queries
    D  channels of a head; heads lie side by side in a row, ``width = H D``
    M  chunk summaries of a context, ``B M`` in all, context after context; of ``C`` positions each
    G  runs of equal shape that are computed together (``runs.Run``): ``L`` rows each that see ``S``
       summaries, so that a query of a run meets at most ``S + L`` keys
    q  queries of a block (``attention.QUERIES_PER_BLOCK`` or what is left)

Which file holds what: ``rows`` blocks of rows and their norm, ``runs`` which keys a query sees,
``projection``, ``summaries``, ``attention`` and ``feed_forward`` one piece each, ``block`` the two
autograd functions that put them together. Everything is float32, but for
products of rows and weights, which autocast rounds; the tests also run it in float64.
"""
