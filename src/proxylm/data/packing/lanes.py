"""Lanes: where the rate varies inside a block, which step shows which context of the stream.

Contexts that were shuffled over such a block would all show its mean rate. They are laid in lanes
instead. A *lane* is a run of successive contexts of the stream, one a step, ``LANE_STRIDE`` steps
apart; the next lane, one step beside it, comes back. ``LANE_STRIDE`` lanes are a *row*, which gives
every step of the block one context; the next row is the same way backwards. So a document that
fills many contexts stays near the step at whose rate it was drawn, as often before it as behind it,
and a step takes each of its contexts from another row. ``data.packing.definition`` lists the lanes
one by one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proxylm.compiled import Int64
from proxylm.data.packing.compiled import compiled, inlined
from proxylm.data.packing.spans import Draws

LANE_STRIDE = 8
"""Steps from one context of a lane to the next.

Part of the definition of the data, not a setting. One step draws on enough documents with any
stride. But what trains is a mean over about ten steps (AdamW's first moment), and with a small
stride successive steps show the same long documents: this is the least power of two with which ten
steps draw on as many as where contexts are shuffled. A larger one would carry long documents
further from the rate of their step.
"""


@inlined
def step_of(draws: Draws, contexts_per_step: int, context: int) -> Int64:
    """The step at whose rate documents that begin in a context are drawn.

    Where contexts are laid in lanes, that is the step that shows it.
    """
    # The document that crosses the run's end begins behind it, where no rate is given.
    step = np.int64(min(context // contexts_per_step, len(draws.block_steps) - 1))
    if draws.block_steps[step] == 0:
        return step
    first = draws.block_first[step]
    number = context - first * contexts_per_step
    return first + step_in_block(number, draws.block_steps[step], contexts_per_step)


@compiled
def step_in_block(number: int, num_steps: int, contexts_per_step: int) -> Int64:
    """The step, from the block's first, that shows its context ``number``."""
    number = min(number, num_steps * contexts_per_step - 1)  # what lies behind is not shown
    row, place = number // num_steps, number % num_steps
    if row % 2:
        place = num_steps - 1 - place
    lane: Int64 = np.int64(0)
    length: Int64 = (num_steps + LANE_STRIDE - 1) // LANE_STRIDE
    while place >= length:
        place -= length
        lane += 1
        length = (num_steps - lane + LANE_STRIDE - 1) // LANE_STRIDE
    return np.int64(lane + LANE_STRIDE * (length - 1 - place if lane % 2 else place))


@compiled
def lane_order(num_steps: int, contexts_per_step: int) -> NDArray[np.int64]:
    """Contexts of a block in the order of training: int64 ``[num_steps * contexts_per_step]``."""
    order = np.empty((num_steps, contexts_per_step), np.int64)
    taken = np.zeros(num_steps, np.int64)
    for number in range(num_steps * contexts_per_step):
        step = step_in_block(number, num_steps, contexts_per_step)
        order[step, taken[step]] = number
        taken[step] += 1
    return order.reshape(-1)
