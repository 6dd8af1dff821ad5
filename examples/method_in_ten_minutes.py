"""The method on a list of strings: one model reads tokens and bytes, and is used on bytes alone."""

import proxylm as px

if __name__ == "__main__":
    texts = [f"def add_{n}(x):\n    return x + {n}\n".encode() for n in range(2000)]
    tokens = px.train_tokenizer(texts, vocabulary_size=320)
    store = px.prepare(texts, {"tokens": tokens}, held_out_fraction=0.05)
    # The paper's mixture: 40 % to 90 % of the views are compressed, with pairs of both at first.
    batches = px.batches(store, px.Mixture.paper(), context=256, contexts_per_step=4, steps=40)
    print(px.show(batches[0], context=0))
    sizes = px.preset("demo", layers=2, context=256, vocabulary_size=batches.vocabulary_size)
    model = px.train(model=px.LanguageModel(sizes), batches=batches, learning_rate=3e-3).model
    held_out = [store.raw(number).tobytes() for number in store.ordinals(held_out=True)]
    for read_as in ("bytes", tokens):
        print(px.score(model, held_out, read_as=read_as))
