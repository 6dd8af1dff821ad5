"""A compressor of one's own, used as an object: each run of equal bytes is one symbol."""

import itertools

import numpy as np

import proxylm as px


class Runs(px.Compressor):
    kind, reversible, symbol_count, settings = "runs", False, 256, {}

    def encode(self, documents):
        runs = [[byte for byte, _ in itertools.groupby(document)] for document in documents]
        return [px.CompressedView(symbols=np.array(one, np.uint32)) for one in runs]


if __name__ == "__main__":
    documents = (b"a" * n + b"bc" for n in range(1, 3000))
    store = px.prepare(documents, Runs(), "views/runs", workers=2)
    print(store, store.raw(4).tobytes(), store.view("runs").symbols(4))
