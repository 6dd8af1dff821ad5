"""EvaByte for transformers: one file beside its configuration, loaded with ``trust_remote_code``.

Shapes: ``B`` rows, ``N`` positions fed at once, ``H`` heads of width ``D``, window ``W``, chunk
``C``, ``M`` chunk summaries, ``V`` vocabulary. A query sees the exact keys of its own window and
one summary per chunk of every earlier window, in one softmax.

Windows and chunks count from a row's first symbol. Rows may therefore stand at different
positions: columns that ``attention_mask`` leaves out, left padding for instance, are skipped, and
a row gives what it gives alone. Feeding a whole prompt and feeding symbol by symbol is the same
code; what is kept in between is ``EvaCache``, in memory ``O(W + N/C)``.

Keywords that the framework hands to every model are taken; one that asks for something else than
this model computes is refused by its name, and one that nobody here knows is warned of.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast
from transformers.utils import ModelOutput, can_return_tuple, logging

from .configuration_evabyte import EvaByteConfig

logger = logging.get_logger(__name__)

PACKING = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
"""Keywords that say where one row's sequences begin."""
LOSS_KEYWORDS = ("num_items_in_batch", "shift_labels")
NOT_FOR_US = ("tokenizer", "assistant_tokenizer")
"""What ``generate`` uses itself and hands on all the same."""


def taken(values: Tensor, index: Tensor) -> Tensor:
    """``values [..., B, H, S, D]`` at the positions ``index [B, n]`` of each row."""
    shape = (*values.shape[:-2], index.shape[1], values.shape[-1])
    return values.gather(-2, index[:, None, :, None].expand(shape))


def placed(old: Tensor, new: Tensor, start: Tensor, count: Tensor) -> Tensor:
    """``old [..., B, H, S, D]`` with the first ``count[b]`` of ``new`` at ``start[b]``.

    Out of place, so that gradients pass.
    """
    slots = torch.arange(old.shape[-2], device=old.device)[None] - start[:, None]
    here = (slots >= 0) & (slots < count[:, None])
    return torch.where(here[:, None, :, None], taken(new, slots.clamp(0, new.shape[-2] - 1)), old)


class EvaLayerCache:
    """What one layer remembers: the current window of every row, and summaries of earlier ones.

    ``lengths [B]`` counts the symbols of each row so far. ``window`` is ``[2, B, H, W, D]`` (keys,
    values) and ``summaries`` ``[2, B, H, M, D]``; slots that a row has not filled are never seen.
    """

    def __init__(self, window_size: int, chunk_size: int) -> None:
        self.window_size = window_size
        self.chunk_size = chunk_size
        self.lengths: Tensor | None = None
        self.window: Tensor | None = None
        self.summaries: Tensor | None = None

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, mu: Tensor, phi: Tensor, counts: Tensor
    ) -> Tensor:
        """Append the first ``counts[b]`` of ``N`` positions ``[B, H, N, D]`` and attend from them.

        Goes window by window: a piece ends where a row's window does.
        """
        lengths, counts = self._reserve(key), counts.to(key.device)
        done, output = torch.zeros_like(counts), torch.zeros_like(query)
        key_value = torch.stack([key, value])
        while True:
            take = torch.minimum(counts - done, self.window_size - lengths % self.window_size)
            width = int(take.max())
            if width == 0:
                return output
            source = done[:, None] + torch.arange(width, device=key.device)
            source = source.clamp(max=query.shape[2] - 1)
            filled = lengths % self.window_size
            assert self.window is not None
            self.window = placed(self.window, taken(key_value, source), filled, take)
            piece = self._attend_in_window(
                taken(query, source), lengths, int((filled + take).max())
            )
            output = placed(output, piece, done, take)
            sealed = (take > 0) & (filled + take == self.window_size)
            if bool(sealed.any()):
                self._summarize(mu, phi, lengths, sealed)
            done, lengths = done + take, lengths + take
            self.lengths = lengths

    def _attend_in_window(self, query: Tensor, lengths: Tensor, used_slots: int) -> Tensor:
        assert self.window is not None and self.summaries is not None
        device, width = query.device, query.shape[2]
        summary_count = lengths // self.window_size * (self.window_size // self.chunk_size)
        summary_slots = torch.arange(self.summaries.shape[-2], device=device)
        sees_summary = (summary_slots[None] < summary_count[:, None])[:, None].expand(-1, width, -1)
        last = (lengths % self.window_size)[:, None] + torch.arange(width, device=device)
        sees_key = torch.arange(used_slots, device=device)[None, None] <= last[..., None]
        key, value = torch.cat([self.summaries, self.window[..., :used_slots, :]], dim=-2)
        mask = torch.cat([sees_summary, sees_key], dim=-1)[:, None]
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    def _summarize(self, mu: Tensor, phi: Tensor, lengths: Tensor, sealed: Tensor) -> None:
        """Add the chunk summaries of the rows whose window is complete."""
        assert self.window is not None and self.summaries is not None
        chunks = self.window_size // self.chunk_size
        key, value = self.window.unflatten(-2, (chunks, self.chunk_size))
        mu, phi = mu[:, None, None], phi[:, None, None]
        key_weights = (key * mu).sum(-1, dtype=torch.float32).softmax(dim=-1)
        logits = (key * phi).sum(-1, dtype=torch.float32)
        logits = logits - 0.5 * key.square().sum(-1, dtype=torch.float32)
        value_weights = (key.shape[-1] ** -0.5 * logits).softmax(dim=-1)
        new_key = (key_weights[..., None].to(key.dtype) * key).sum(dim=-2)
        new_value = (value_weights[..., None].to(value.dtype) * value).sum(dim=-2)
        start, count = lengths // self.window_size * chunks, chunks * sealed
        missing = max(0, int((start + count).max()) - self.summaries.shape[-2])
        room = F.pad(self.summaries, (0, 0, 0, missing))
        self.summaries = placed(room, torch.stack([new_key, new_value]), start, count)

    def _reserve(self, key: Tensor) -> Tensor:
        if self.lengths is None:
            batch, heads, _, width = key.shape
            self.lengths = torch.zeros(batch, dtype=torch.int64, device=key.device)
            self.window = key.new_zeros(2, batch, heads, self.window_size, width)
            self.summaries = self.window[..., :0, :]
        return self.lengths

    def select_rows(self, rows: Tensor) -> None:
        """Keep these rows, in this order; a row may be there several times."""
        if self.lengths is None or self.window is None or self.summaries is None:
            return
        rows = rows.to(self.lengths.device)
        self.lengths = self.lengths[rows]
        self.window, self.summaries = self.window[:, rows], self.summaries[:, rows]


class EvaCache:
    """What ``generate`` carries from step to step: one ``EvaLayerCache`` per layer.

    ``columns`` counts columns fed, padding included, as ``generate`` counts them.
    """

    is_compileable = False

    def __init__(self, config: EvaByteConfig) -> None:
        self.columns = 0
        self.layers = [
            EvaLayerCache(config.window_size, config.chunk_size)
            for _ in range(config.num_hidden_layers)
        ]

    def positions(self, batch_size: int, device: torch.device) -> Tensor:
        """The next position of every row, int64 ``[B]``."""
        lengths = self.layers[0].lengths
        if lengths is None:
            return torch.zeros(batch_size, dtype=torch.int64, device=device)
        return lengths.to(device)

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Columns fed so far."""
        return self.columns

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Keep these rows, in this order (beam search)."""
        self.batch_select_indices(beam_idx)

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep these rows, in this order."""
        for layer in self.layers:
            layer.select_rows(indices)

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every row so often."""
        lengths = self.layers[0].lengths
        if lengths is not None:
            rows = torch.arange(len(lengths), device=lengths.device)
            self.batch_select_indices(rows.repeat_interleave(repeats))


class EvaByteRMSNorm(nn.Module):
    """``x / rms(x) * (1 + weight)`` in float32."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.hidden_size))
        self.epsilon = config.rms_norm_eps

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]``, any type in, float32 out."""
        x = x.float()
        x = x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + self.epsilon)
        return x * (1.0 + self.weight.float())


def rotated(x: Tensor, angles: Tensor) -> Tensor:
    """Rotary embedding, rotate-half form: ``x [B, H, N, D]``, ``angles [B, 1, N, D/2]``."""
    first, second = x.float().chunk(2, dim=-1)
    cos, sin = angles.cos(), angles.sin()
    out = torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)
    return out.to(x.dtype)


class EvaByteAttention(nn.Module):
    """EVA attention of one layer."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        self.heads = heads
        self.window_size, self.chunk_size = config.window_size, config.chunk_size
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.adaptive_mu_k = nn.Parameter(torch.zeros(1, heads, 1, 1, width // heads))
        self.adaptive_phi = nn.Parameter(torch.zeros(1, heads, 1, 1, width // heads))

    def forward(
        self, x: Tensor, angles: Tensor, counts: Tensor, cache: EvaLayerCache | None
    ) -> Tensor:
        """``[B, N, width]`` of the new positions; ``counts [B]`` of them are real in each row."""
        if cache is None:
            cache = EvaLayerCache(self.window_size, self.chunk_size)
        x = x.to(self.q_proj.weight.dtype)
        query, key, value = (
            projection(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for projection in (self.q_proj, self.k_proj, self.v_proj)
        )
        mu, phi = self.adaptive_mu_k[0, :, 0, 0], self.adaptive_phi[0, :, 0, 0]
        out = cache.attend(rotated(query, angles), rotated(key, angles), value, mu, phi, counts)
        return self.o_proj(out.transpose(1, 2).flatten(-2))


class EvaByteMLP(nn.Module):
    """SwiGLU."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """``[..., width]`` to ``[..., width]``."""
        x = x.to(self.gate_proj.weight.dtype)
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class EvaByteDecoderLayer(GradientCheckpointingLayer):
    """One pre-norm block; the residual stream is float32."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__()
        self.input_layernorm = EvaByteRMSNorm(config)
        self.self_attn = EvaByteAttention(config)
        self.post_attention_layernorm = EvaByteRMSNorm(config)
        self.mlp = EvaByteMLP(config)

    def forward(
        self,
        x: Tensor,
        angles: Tensor,
        counts: Tensor,
        past_key_values: EvaLayerCache | None = None,
    ) -> Tensor:
        """Residual stream in, residual stream out, ``[B, N, width]`` float32."""
        x = x + self.self_attn(self.input_layernorm(x), angles, counts, past_key_values)
        return x + self.mlp(self.post_attention_layernorm(x))


class EvaBytePreTrainedModel(PreTrainedModel):
    """What transformers asks of every model of this kind."""

    config: EvaByteConfig
    config_class = EvaByteConfig
    base_model_prefix = "model"
    _no_split_modules = ["EvaByteDecoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
    supports_gradient_checkpointing = True
    # Chunks of a complete window cannot be taken apart again, as assisted decoding would need.
    _is_stateful = True

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=self.config.initializer_range)
        elif isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        elif isinstance(module, EvaByteRMSNorm):
            nn.init.zeros_(module.weight)
        elif isinstance(module, EvaByteAttention):
            for vector in (module.adaptive_mu_k, module.adaptive_phi):
                nn.init.normal_(vector, std=vector.shape[-1] ** -0.5)


def _either(asked: bool | None, default: bool | None) -> bool:
    return bool(default if asked is None else asked)


def _first_positions(cache: EvaCache | None, embedded: Tensor) -> Tensor:
    """The position of every row's next symbol, int64 ``[B]``."""
    if cache is not None:
        return cache.positions(len(embedded), embedded.device)
    return torch.zeros(len(embedded), dtype=torch.int64, device=embedded.device)


def _own_symbols_first(
    embedded: Tensor, attention_mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """``[B, N, width]`` with each row's own symbols in front, and their counts ``[B]``.

    A row starts at offset 0 of its windows, wherever its padding is. The third value, ``[B, N]``,
    says where each column went; None where all stay.
    """
    batch, count = embedded.shape[:2]
    everything = embedded, torch.full((batch,), count, device=embedded.device), None
    if attention_mask is None:
        return everything
    shape = tuple(attention_mask.shape)
    if len(shape) != 2 or shape[0] != batch or shape[1] < count:
        raise ValueError(
            f"attention_mask: shape {shape}, expected ({batch}, at least {count}) of ones and zeros"
        )
    kept = attention_mask[:, -count:].to(embedded.device).bool()
    if bool(kept.all()):
        return everything
    order = torch.argsort((~kept).int(), dim=1, stable=True)
    return _in_columns(embedded, order), kept.sum(dim=1), order.argsort(dim=1)


def _in_columns(states: Tensor, columns: Tensor | None) -> Tensor:
    """``states [B, N, width]``, taken in this order ``[B, N]``; as they are where there is none."""
    return states if columns is None else states.gather(1, columns[..., None].expand_as(states))


def _require_understood(
    keywords: Mapping[str, Any], first: Tensor, attention_mask: Tensor | None
) -> None:
    """Refuse a keyword that asks for another result than this model gives; warn of unknown ones."""
    given = {name: value for name, value in keywords.items() if value is not None}
    if given.pop("output_attentions", False):
        raise ValueError("output_attentions: EvaByte does not keep its attention weights")
    for name in PACKING:
        if name in given:
            raise ValueError(f"{name}: EvaByte has one sequence in a row; pad instead of packing")
    if not given.pop("is_causal", True):
        raise ValueError("is_causal: EvaByte sees no later symbols")
    position_ids = given.pop("position_ids", None)
    if position_ids is not None and not _counts_from(first, position_ids, attention_mask):
        raise ValueError(
            "position_ids: EvaByte counts a row's symbols itself, from 0, as attention_mask has "
            "them; leave position_ids out, and pad instead of packing"
        )
    unknown = sorted(name for name in given if name not in NOT_FOR_US and given[name] is not False)
    if unknown:
        logger.warning_once(f"EvaByte does not use {', '.join(unknown)}")


def _counts_from(first: Tensor, position_ids: Tensor, attention_mask: Tensor | None) -> bool:
    """Whether these positions are the model's own, wherever a row has a symbol."""
    position_ids = position_ids.to(first.device).expand(len(first), -1)
    kept = torch.ones_like(position_ids)
    if attention_mask is not None:
        kept = attention_mask[:, -position_ids.shape[1] :].to(first.device).long()
    own = first[:, None] + kept.cumsum(dim=1) - 1
    return bool(((position_ids == own) | (kept == 0)).all())


class EvaByteModel(EvaBytePreTrainedModel):
    """Embedding, blocks and final norm."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(
            EvaByteDecoderLayer(config) for _ in range(config.num_hidden_layers)
        )
        self.norm = EvaByteRMSNorm(config)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: EvaCache | None = None,
        inputs_embeds: Tensor | None = None,
        use_cache: bool | None = None,
        output_hidden_states: bool | None = None,
        **keywords: Any,
    ) -> BaseModelOutputWithPast:
        """Normalized states ``[B, N, width]`` of the ``N`` new columns, float32.

        ``hidden_states``, if they are asked for, are what every layer is given, the embeddings
        first, and the normalized states. The parameters are those of ``EvaByteForCausalLM``.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("give either input_ids or inputs_embeds")
        embedded = self.embed_tokens(input_ids) if inputs_embeds is None else inputs_embeds
        cache = self._cache(past_key_values, use_cache)
        first = _first_positions(cache, embedded)
        x, counts, columns = _own_symbols_first(embedded.float(), attention_mask)
        _require_understood(keywords, first, attention_mask)
        angles = self._angles(first[:, None] + torch.arange(x.shape[1], device=x.device))
        states = []
        for index, layer in enumerate(self.layers):
            states.append(x)
            layer_cache = None if cache is None else cache.layers[index]
            x = layer(x, angles, counts, past_key_values=layer_cache)
        states.append(self.norm(x))
        if cache is not None:
            cache.columns += x.shape[1]
        keeps_states = _either(output_hidden_states, self.config.output_hidden_states)
        kept = states if keeps_states else states[-1:]
        states = [_in_columns(state, columns) for state in kept]
        return BaseModelOutputWithPast(
            last_hidden_state=states[-1],
            past_key_values=cache,  # type: ignore[arg-type]  # a cache of our own kind
            hidden_states=tuple(states) if keeps_states else None,
        )

    def _cache(self, given: EvaCache | None, use_cache: bool | None) -> EvaCache | None:
        """What layers write to; None where nothing is to be kept after this call."""
        if given is not None and not isinstance(given, EvaCache):
            kind = type(given).__name__
            raise ValueError(f"past_key_values: EvaByte takes its own EvaCache, not a {kind}")
        # Layers that are computed a second time must not write a second time.
        recomputes = self.training and any(layer.gradient_checkpointing for layer in self.layers)
        if recomputes and given is not None:
            raise ValueError("past_key_values: not together with gradient checkpointing")
        if recomputes or not (given or _either(use_cache, self.config.use_cache)):
            return None
        return given or EvaCache(self.config)

    def _angles(self, positions: Tensor) -> Tensor:
        width = self.config.hidden_size // self.config.num_attention_heads
        steps = torch.arange(0, width, 2, dtype=torch.float32, device=positions.device)
        inverse_frequency = 1.0 / self.config.rope_theta ** (steps / width)
        return (positions[..., None].float() * inverse_frequency)[:, None]


@dataclass
class EvaByteOutput(ModelOutput):
    """What ``forward`` gives.

    ``logits`` are ``[B, N, V]`` of head 0, or ``[B, N, heads, V]``; ``raw_logits``
    ``[B, N, raw heads, raw vocabulary]`` of the heads over bytes alone, if they were asked for.
    ``hidden_states``, if they were asked for, are ``[B, N, width]`` each: the embeddings, what
    every layer but the last gives, and the normalized states that the heads read. ``attentions``
    is there for programs that look for it, and always None.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: EvaCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
    attentions: None = None
    raw_logits: Tensor | None = None


class EvaByteForCausalLM(EvaBytePreTrainedModel, GenerationMixin):
    """EvaByte with its prediction heads; ``generate`` uses head 0, the next-symbol head."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__(config)
        self.model = EvaByteModel(config)
        width, heads = config.hidden_size, config.num_pred_heads
        self.lm_head = nn.Linear(width, heads * config.vocab_size, bias=False)
        if config.apply_raw_multibyte_lm_head:
            rows = config.num_raw_pred_heads * config.raw_vocab_size
            self.raw_multibyte_lm_head = nn.Linear(width, rows, bias=False)
        self.post_init()

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        return False  # ``forward`` makes its own

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        past_key_values: EvaCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        return_all_pred_logits: bool = False,
        output_hidden_states: bool | None = None,
        inputs_embeds: Tensor | None = None,
        **keywords: Any,
    ) -> EvaByteOutput:
        """Logits ``[B, N, V]`` of head 0.

        Args:
            input_ids: ``[B, N]``; with a cache, the new columns alone.
            attention_mask: ``[B, at least N]``; its last ``N`` columns say which are symbols.
            past_key_values: what an earlier call gave; it goes on from there.
            labels: as ``input_ids``; -100 where nothing counts.
            use_cache: give ``past_key_values``.
            logits_to_keep: only the last so many columns, 0 keeps all; or the columns to keep.
            return_all_pred_logits: give ``[B, N, heads, V]``, and ``raw_logits`` where there are
                raw heads.
            output_hidden_states: give the states of all layers too.
            inputs_embeds: ``[B, N, width]`` in the place of ``input_ids``.
            keywords: what the framework hands to every model. ``num_items_in_batch`` and
                ``shift_labels`` are for the loss (not named above: ``Trainer`` would take the
                latter for labels that every data set has); what asks for another result, as
                ``output_attentions`` and packed rows do, is refused.
        """
        before = input_ids if self._normalizes_by_format() else None
        if input_ids is None and self._normalizes_by_format():
            raise ValueError(
                "inputs_embeds: this model's logits depend on the symbols before; give input_ids"
            )
        for_loss = {name: keywords.pop(name, None) for name in LOSS_KEYWORDS}
        output = self.model(
            input_ids,
            attention_mask,
            past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            output_hidden_states=output_hidden_states,
            return_dict=True,
            **keywords,
        )
        kept = slice(-logits_to_keep, None) if isinstance(logits_to_keep, int) else logits_to_keep
        hidden = output.last_hidden_state[:, kept]
        heads = self.config.num_pred_heads if return_all_pred_logits else 1
        logits = self._logits(hidden, None if before is None else before[:, kept], heads)
        loss = None
        if labels is not None or for_loss["shift_labels"] is not None:
            loss = self.loss_function(
                logits[:, :, 0], labels, vocab_size=self.config.vocab_size, **for_loss
            )
        return EvaByteOutput(
            loss=loss,
            logits=logits if return_all_pred_logits else logits[:, :, 0],
            past_key_values=output.past_key_values,
            hidden_states=output.hidden_states,
            raw_logits=self._raw_logits(hidden) if return_all_pred_logits else None,
        )

    def _raw_logits(self, hidden: Tensor) -> Tensor | None:
        """``[B, N, raw heads, raw vocabulary]``; None where there are no raw heads."""
        if not self.config.apply_raw_multibyte_lm_head:
            return None
        flat = self.raw_multibyte_lm_head(hidden.to(self.lm_head.weight.dtype)).float()
        return flat.unflatten(-1, (-1, self.config.raw_vocab_size))

    def _get_resized_lm_head(
        self,
        old_lm_head: nn.Linear,
        new_num_tokens: int | None = None,
        transposed: bool = False,
        mean_resizing: bool = True,
    ) -> nn.Linear:
        """Every head's own rows get the new size; the framework knows one head alone."""
        if new_num_tokens is None:
            return old_lm_head
        heads = []
        for rows in old_lm_head.weight.detach().chunk(self.config.num_pred_heads):
            head = nn.Linear(rows.shape[1], rows.shape[0], bias=False, device="meta")
            head.weight = nn.Parameter(rows)
            heads.append(
                super()._get_resized_lm_head(head, new_num_tokens, transposed, mean_resizing)
            )
        resized = heads[0]
        resized.weight = nn.Parameter(torch.cat([head.weight.detach() for head in heads]))
        resized.out_features = len(resized.weight)
        return resized

    def _logits(self, hidden: Tensor, before: Tensor | None, heads: int) -> Tensor:
        """``[B, N, heads, V]`` float32 of the first ``heads`` heads.

        ``before [B, N]`` are the symbols that logits are masked after; None masks nothing.
        """
        weight = self.lm_head.weight[: heads * self.config.vocab_size]
        logits = F.linear(hidden.to(weight.dtype), weight).float().unflatten(-1, (heads, -1))
        if before is not None:
            logits = logits.masked_fill(self._forbidden(before)[:, :, None], -torch.inf)
        return logits

    def _normalizes_by_format(self) -> bool:
        """Whether a position is normalized over what can follow it only."""
        facts = self.config.proxylm
        return facts is not None and facts["softmax"] == "by_format"

    def _forbidden(self, input_ids: Tensor) -> Tensor:
        """Boolean ``[B, N, V]``: symbols that cannot follow, given the symbol before them.

        A model normalized by format has specials alone after specials, with bytes inside raw text,
        with compressed symbols inside compressed text.
        """
        facts = self.config.proxylm
        assert facts is not None
        symbols, before = facts["symbols"], input_ids[..., None]
        first_byte, first_compressed = symbols["first_byte"], symbols["first_compressed"]
        following = torch.arange(self.config.vocab_size, device=input_ids.device)
        is_compressed = following >= first_compressed
        is_byte = (following >= first_byte) & ~is_compressed
        after_raw = (before == symbols["raw_open"]) | (
            (before >= first_byte) & (before < first_compressed)
        )
        after_compressed = (before == symbols["compressed_open"]) | (before >= first_compressed)
        return (is_byte & ~after_raw) | (is_compressed & ~after_compressed)
