"""The loss of several heads against an independent computation, position by position."""

import pytest
import torch
from jaxtyping import TypeCheckError

from proxylm.errors import DataError, UsageError
from proxylm.models.formats import can_follow
from proxylm.models.loss import OutputLayers, heads_loss
from proxylm.symbols import (
    BOS,
    COMPRESSED_CLOSE,
    COMPRESSED_OFFSET,
    COMPRESSED_OPEN,
    EOS,
    IGNORED_TARGET,
    RAW_CLOSE,
    RAW_OFFSET,
    RAW_OPEN,
)

VOCABULARY = 340
WIDTH = 8
RAW = [RAW_OFFSET + byte for byte in (0, 97, 255, 10)]
COMPRESSED = [COMPRESSED_OFFSET + symbol for symbol in (0, 7, 19)]
PAIR = [BOS, RAW_OPEN, *RAW, RAW_CLOSE, COMPRESSED_OPEN, *COMPRESSED, COMPRESSED_CLOSE, EOS]


def targets_of(symbols, heads):
    """Head ``k`` wants the symbol ``k + 1`` ahead; past the end nothing."""
    targets = torch.full((len(symbols), heads), IGNORED_TARGET)
    for i in range(len(symbols)):
        for k in range(min(heads, len(symbols) - 1 - i)):
            targets[i, k] = symbols[i + 1 + k]
    return targets


@pytest.fixture
def outputs():
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(2, VOCABULARY, WIDTH, generator=generator).requires_grad_()
    raw = torch.randn(3, COMPRESSED_OFFSET, WIDTH, generator=generator).requires_grad_()
    return shared, raw


@pytest.fixture
def hidden():
    generator = torch.Generator().manual_seed(1)
    return torch.randn(len(PAIR), WIDTH, generator=generator).requires_grad_()


def loss_by_definition(hidden, inputs, targets, shared, raw, by_format):
    """One position and head at a time."""
    position_losses = []
    for i, (state, row) in enumerate(zip(hidden, targets.tolist(), strict=True)):
        nats = []
        for head, target in enumerate(row):
            if target == IGNORED_TARGET:
                continue
            if head < len(shared):
                logits = shared[head] @ state
                if by_format:
                    allowed = can_follow(inputs[i], VOCABULARY)
                    if not allowed[target]:
                        continue
                    logits = logits.masked_fill(~allowed, -torch.inf)
            elif max(row) >= COMPRESSED_OFFSET:
                continue
            else:
                logits = raw[head - len(shared)] @ state
            nats.append(torch.logsumexp(logits, 0) - logits[target])
        if nats:
            position_losses.append(torch.stack(nats).mean())
    return torch.stack(position_losses).mean(), len(position_losses)


@pytest.mark.parametrize("by_format", [False, True])
def test_equals_the_definition_with_gradients(hidden, outputs, by_format):
    shared, raw = outputs
    inputs, targets = torch.tensor(PAIR), targets_of(PAIR, 5)
    report = heads_loss(hidden, inputs, targets, OutputLayers(shared, raw, by_format))
    tensors = (hidden, shared, raw)
    gradients = torch.autograd.grad(report.loss, tensors)
    wanted, positions = loss_by_definition(hidden, inputs, targets, shared, raw, by_format)
    torch.testing.assert_close(report.loss, wanted)
    assert report.positions == positions
    for found, expected in zip(gradients, torch.autograd.grad(wanted, tensors), strict=True):
        torch.testing.assert_close(found, expected)


def test_raw_heads_train_only_where_no_target_is_compressed(hidden, outputs):
    shared, raw = outputs
    targets = targets_of(PAIR, 5)
    layers = OutputLayers(shared, raw, by_format=False)
    loss = heads_loss(hidden, torch.tensor(PAIR), targets, layers).loss
    mixed = (targets >= COMPRESSED_OFFSET).any(dim=1)
    changed = targets.clone()
    changed[mixed, 2:] = torch.where(targets[mixed, 2:] >= 0, RAW[0], IGNORED_TARGET)
    # Their raw targets do not matter as long as a shared head's target is compressed.
    still_mixed = (changed[:, :2] >= COMPRESSED_OFFSET).any(dim=1)
    changed[mixed & ~still_mixed] = targets[mixed & ~still_mixed]
    assert not torch.equal(changed, targets)
    again = heads_loss(hidden, torch.tensor(PAIR), changed, layers).loss
    torch.testing.assert_close(loss, again)


def test_sums_per_format_are_those_of_each_head(hidden, outputs):
    shared, raw = outputs
    heads, inputs = len(shared) + len(raw), torch.tensor(PAIR)
    targets = targets_of(PAIR, heads)
    report = heads_loss(hidden, inputs, targets, OutputLayers(shared, raw, False))
    all_raw = (targets < COMPRESSED_OFFSET).all(dim=1)
    for head, weight in enumerate([*shared, *raw]):
        nats = torch.zeros(3, dtype=torch.float64)
        counts = [0, 0, 0]
        log_probabilities = (hidden @ weight.t()).detach().log_softmax(-1)
        for row, symbol in enumerate(targets[:, head].tolist()):
            if symbol >= 0 and (head < len(shared) or all_raw[row]):
                kind = 0 if symbol < RAW_OFFSET else 1 if symbol < COMPRESSED_OFFSET else 2
                nats[kind] -= log_probabilities[row, symbol].double()
                counts[kind] += 1
        torch.testing.assert_close(report.nats[head], nats, rtol=1e-5, atol=1e-5)
        assert report.counts[head].tolist() == counts
    assert report.counts[0].tolist() == [5, len(RAW), len(COMPRESSED)]
    assert report.counts[-1, 2] == 0 < report.counts[-1, 1]


def test_slices_with_a_common_normalizer_add_up(hidden, outputs):
    shared, raw = outputs
    inputs, targets = torch.tensor(PAIR), targets_of(PAIR, 5)
    layers = OutputLayers(shared, raw, by_format=True)
    whole = heads_loss(hidden, inputs, targets, layers)
    parts = [
        heads_loss(hidden[s], inputs[s], targets[s], layers, normalizer=int(whole.positions)).loss
        for s in (slice(0, 5), slice(5, None))
    ]
    torch.testing.assert_close(sum(parts), whole.loss)


def test_a_batch_that_trains_nothing_has_loss_zero(hidden, outputs):
    shared, _ = outputs
    targets = torch.full((len(PAIR), 2), IGNORED_TARGET)
    report = heads_loss(hidden, torch.tensor(PAIR), targets, OutputLayers(shared, None, True))
    report.loss.backward()
    assert report.loss == 0 and report.positions == 0 and report.counts.sum() == 0


def test_by_format_without_sentinels_is_refused(hidden, outputs):
    shared, _ = outputs
    symbols = [BOS, *RAW, EOS]
    layers = OutputLayers(shared, None, by_format=True)
    with pytest.raises(DataError, match="64 cannot follow symbol 1; it needs contexts with sent"):
        heads_loss(hidden[:6], torch.tensor(symbols), targets_of(symbols, 2), layers)


def test_by_format_logits_normalize_to_the_trained_probabilities(build):
    model = build(softmax="by_format", vocabulary_size=VOCABULARY)
    ids = torch.tensor([PAIR])
    targets = targets_of(PAIR, 1)[None]
    report = model.loss(ids, targets)
    log_p = torch.log_softmax(model.logits(ids)[0, :-1, 0], dim=-1)
    nats = -log_p[torch.arange(len(PAIR) - 1), PAIR[1:]]
    torch.testing.assert_close(report.loss, nats.mean())
    assert (log_p[3] == -torch.inf).sum() == VOCABULARY - COMPRESSED_OFFSET
    full = build(vocabulary_size=VOCABULARY)
    assert full.logits(ids).isfinite().all()
    assert report.loss < full.loss(ids, targets).loss, "fewer symbols to tell apart"


def test_model_with_raw_heads_has_their_own_output(build):
    model = build(prediction_heads=2, raw_prediction_heads=3, vocabulary_size=VOCABULARY)
    ids = torch.tensor([PAIR])
    assert model.logits(ids).shape == (1, len(PAIR), 2, VOCABULARY)
    assert model.raw_logits(ids).shape == (1, len(PAIR), 3, COMPRESSED_OFFSET)
    model.loss(ids, targets_of(PAIR, 5)[None]).loss.backward()
    assert model.raw_multibyte_lm_head.weight.grad.abs().sum() > 0


def test_targets_of_other_heads_are_refused(build, packed):
    model, (ids, _) = build(prediction_heads=2), packed(2, 5)
    wanted = r"targets: shape \[2, 5, 1\], but ids \[2, 5\] and 2 heads need \[2, 5, 2\]"
    with pytest.raises(UsageError, match=wanted):
        model.loss(ids, ids[..., None])


def test_the_tests_check_the_types_of_what_crosses_a_border(build, packed):
    model, (ids, documents) = build(), packed(2, 5)
    for arguments in [(ids.float(),), (ids[0],), (ids, documents[:, :4]), (ids, documents.float())]:
        with pytest.raises(TypeCheckError):
            model.hidden(*arguments)
