"""A rate schedule of one's own: the compressed share rises and falls like a wave."""

import numpy as np

import proxylm as px


class Wave:
    fingerprint = "wave-1"  # names what it computes; it enters the run's configuration hash

    def rates(self, total_steps):
        return 0.5 + 0.4 * np.sin(np.arange(total_steps) / 10)


store = px.prepare([b"some text or other. " * 3] * 999, "units:bits=4")
mixture = px.Mixture(rate=Wave())
batches = px.batches(store, mixture, context=256, contexts_per_step=16, steps=60)
for step in (0, 16, 47):
    shown = batches.statistics(step)
    print(f"step {step}: {shown.rate_asked:.2f} asked for, {shown.rate_shown:.2f} shown")
