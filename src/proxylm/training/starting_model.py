"""The model that a start of a run trains on: whole on one process, or divided among ranks."""

from __future__ import annotations

from proxylm.checkpoints.checkpoint import Checkpoint
from proxylm.models.language_model import LanguageModel
from proxylm.ranks import Ranks
from proxylm.training.inputs import Inputs
from proxylm.training.sharding import draw_weights, empty_sharded_model, send_weights, shard


def starting_model_of(inputs: Inputs, checkpoint: Checkpoint | None, ranks: Ranks) -> LanguageModel:
    """The model before the first step of this start, where it is trained.

    Args:
        inputs: of the run.
        checkpoint: that the run goes on from, whose weights are still to be read; None for the
            run's beginning.
        ranks: of the run.

    Raises:
        UsageError: see ``starting_weights.starting_model``; the ranks cannot be divided as asked.
    """
    if not ranks.is_alone:
        return _divided(inputs, checkpoint, ranks)
    if checkpoint is None:
        model = inputs.new_model()
    else:
        model = inputs.model_to_fill(checkpoint.model_config())
    return model.to(inputs.place.device)


def _divided(inputs: Inputs, checkpoint: Checkpoint | None, ranks: Ranks) -> LanguageModel:
    parallel, place = inputs.settings.parallel, inputs.place
    if inputs.given:
        model = inputs.new_model()
        shard(model, ranks, parallel, place)
    elif checkpoint is not None:
        model = empty_sharded_model(checkpoint.model_config(), ranks, parallel, place)
    elif inputs.drawn is not None:
        sizes, seed = inputs.drawn
        model = empty_sharded_model(sizes, ranks, parallel, place)
        draw_weights(model, seed, ranks)
    else:
        # What is read is held whole by one rank, and by that one for a moment.
        with ranks.together():
            whole = inputs.new_model() if ranks.is_first else None
        config = ranks.broadcast(None if whole is None else whole.config)
        assert config is not None, "rank 0 has the model"
        model = empty_sharded_model(config, ranks, parallel, place)
        send_weights(model, whole)
    return model
