"""A run watched by callbacks: samples on the way, a number of one's own, and an early end."""

import proxylm as px
from proxylm.training.callbacks import EarlyStopping, Sample


def weights_norm(run, record):
    """Any function is a callback; what it returns goes into the run's metrics."""
    return {"weights_norm": float(sum(weight.detach().norm() for weight in run.model.parameters()))}


def told(run, record):
    if "sample" in record:
        print(f"step {run.step}: loss {record['loss']:.2f}, {record['sample']!r}")


store = px.prepare([b"the cat sat on the mat. " * n for n in range(1, 99)], "units:bits=4")
batches = px.batches(store, context=256, contexts_per_step=2, steps=40)
sizes = px.preset("demo", layers=2, context=256, vocabulary_size=batches.vocabulary_size)
result = px.train(
    model=px.LanguageModel(sizes),
    batches=batches,
    learning_rate=3e-3,
    out="runs/watched",
    callbacks=[
        weights_norm,
        Sample(b"the cat ", every_steps=10, max_new_bytes=24),
        EarlyStopping("loss", patience=10),
        told,
    ],
)
print(f"{result.steps} steps, {result.stopped or 'to the end'}")
