"""A training loop of one's own; the model is saved, loaded and goes on with a text."""

import torch

import proxylm as px

store = px.prepare([b"the cat sat on the mat. " * n for n in range(1, 99)], "units:bits=4")
batches = px.batches(store, context=128, contexts_per_step=2, steps=60)
sizes = px.preset("demo", layers=2, context=128, vocabulary_size=batches.vocabulary_size)
model = px.LanguageModel(sizes)
optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
for batch in batches:
    loss = model.loss(*batch.tensors()).loss
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
px.save(model, "my-model")
print(px.load("my-model").generate(b"the cat ", max_new_bytes=32))
