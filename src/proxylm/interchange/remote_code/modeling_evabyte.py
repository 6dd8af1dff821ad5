"""EvaByte for transformers: one file beside its configuration, loaded with ``trust_remote_code``.

Shapes: ``B`` rows, ``N`` positions fed at once, ``H`` heads of width ``D``, window ``W``, chunk
``C``, ``M`` chunk summaries, ``V`` vocabulary. A query sees the exact keys of its own window and
one summary per chunk of every earlier window, in one softmax.

Windows and chunks count from a row's first symbol. Rows may therefore stand at different
positions: columns that ``attention_mask`` leaves out, left padding for instance, are skipped, and
a row gives what it gives alone. Feeding a whole prompt and feeding symbol by symbol is the same
code; what is kept in between is ``EvaCache``, in memory ``O(W + N/C)``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.utils import ModelOutput, can_return_tuple

from .configuration_evabyte import EvaByteConfig

IGNORED_LABEL = -100


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
        self.q_proj = nn.Linear(width, width, bias=False)
        self.k_proj = nn.Linear(width, width, bias=False)
        self.v_proj = nn.Linear(width, width, bias=False)
        self.o_proj = nn.Linear(width, width, bias=False)
        self.adaptive_mu_k = nn.Parameter(torch.zeros(1, heads, 1, 1, width // heads))
        self.adaptive_phi = nn.Parameter(torch.zeros(1, heads, 1, 1, width // heads))

    def forward(self, x: Tensor, angles: Tensor, counts: Tensor, cache: EvaLayerCache) -> Tensor:
        """``[B, N, width]`` of the new positions; ``counts [B]`` of them are real in each row."""
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


class EvaByteDecoderLayer(nn.Module):
    """One pre-norm block; the residual stream is float32."""

    def __init__(self, config: EvaByteConfig) -> None:
        super().__init__()
        self.input_layernorm = EvaByteRMSNorm(config)
        self.self_attn = EvaByteAttention(config)
        self.post_attention_layernorm = EvaByteRMSNorm(config)
        self.mlp = EvaByteMLP(config)

    def forward(self, x: Tensor, angles: Tensor, counts: Tensor, cache: EvaLayerCache) -> Tensor:
        """Residual stream in, residual stream out, ``[B, N, width]`` float32."""
        x = x + self.self_attn(self.input_layernorm(x), angles, counts, cache)
        return x + self.mlp(self.post_attention_layernorm(x))


class EvaBytePreTrainedModel(PreTrainedModel):
    """What transformers asks of every model of this kind."""

    config: EvaByteConfig
    config_class = EvaByteConfig
    base_model_prefix = "model"
    _no_split_modules = ["EvaByteDecoderLayer"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_sdpa = True
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

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None,
        cache: EvaCache,
        *,
        keeps_states: bool = False,
    ) -> tuple[Tensor, ...]:
        """States ``[B, N, width]`` of the ``N`` new columns, float32: the last, normalized.

        With ``keeps_states``, before it what every layer was given: the embeddings first.
        """
        batch, count = input_ids.shape
        counts = torch.full((batch,), count, device=input_ids.device)
        order = None
        if attention_mask is not None:
            kept = attention_mask[:, -count:].to(input_ids.device).bool()
            counts = kept.sum(dim=1)
            # Each row's own symbols first: a row starts at offset 0 of its windows.
            order = torch.argsort((~kept).int(), dim=1, stable=True)
            input_ids = input_ids.gather(1, order)
        first = cache.positions(batch, input_ids.device)
        angles = self._angles(first[:, None] + torch.arange(count, device=input_ids.device))
        x, states = self.embed_tokens(input_ids).float(), []
        for layer, layer_cache in zip(self.layers, cache.layers, strict=True):
            if keeps_states:
                states.append(x)
            x = layer(x, angles, counts, layer_cache)
        cache.columns += count
        states.append(self.norm(x))
        if order is None:
            return tuple(states)
        columns = order.argsort(dim=1)[..., None]
        return tuple(state.gather(1, columns.expand_as(state)) for state in states)

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
    every layer but the last gives, and the normalized states that the heads read.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: EvaCache | None = None
    hidden_states: tuple[Tensor, ...] | None = None
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
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: EvaCache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        return_all_pred_logits: bool = False,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
    ) -> EvaByteOutput:
        """Logits ``[B, N, V]`` of head 0.

        Args:
            input_ids: ``[B, N]``; with a cache, the new columns alone.
            attention_mask: ``[B, at least N]``; its last ``N`` columns say which are symbols.
            labels: as ``input_ids``; -100 where nothing counts.
            logits_to_keep: only the last so many columns; 0 keeps all.
            return_all_pred_logits: give ``[B, N, heads, V]``, and ``raw_logits`` where there are
                raw heads.
            output_hidden_states: give the states of all layers too.
            output_attentions: refused.
        """
        if output_attentions:
            raise ValueError("output_attentions: EvaByte does not keep its attention weights")
        cache = EvaCache(self.config) if past_key_values is None else past_key_values
        keeps_states = self.config.output_hidden_states
        if output_hidden_states is not None:
            keeps_states = output_hidden_states
        states = self.model(input_ids, attention_mask, cache, keeps_states=keeps_states)
        hidden = states[-1][:, -logits_to_keep:]
        heads = self.config.num_pred_heads if return_all_pred_logits else 1
        logits = self._logits(hidden, input_ids[:, -logits_to_keep:], heads)
        raw_logits = None
        if return_all_pred_logits and self.config.apply_raw_multibyte_lm_head:
            flat = self.raw_multibyte_lm_head(hidden.to(self.lm_head.weight.dtype)).float()
            raw_logits = flat.unflatten(-1, (-1, self.config.raw_vocab_size))
        keeps_cache = self.config.use_cache if use_cache is None else use_cache
        return EvaByteOutput(
            loss=None if labels is None else _loss(logits[:, :, 0], labels),
            logits=logits if return_all_pred_logits else logits[:, :, 0],
            past_key_values=cache if keeps_cache else None,
            hidden_states=states if keeps_states else None,
            raw_logits=raw_logits,
        )

    def _logits(self, hidden: Tensor, input_ids: Tensor, heads: int) -> Tensor:
        """``[B, N, heads, V]`` float32 of the first ``heads`` heads."""
        weight = self.lm_head.weight[: heads * self.config.vocab_size]
        logits = F.linear(hidden.to(weight.dtype), weight).float().unflatten(-1, (heads, -1))
        forbidden = self._forbidden(input_ids)
        if forbidden is not None:
            logits = logits.masked_fill(forbidden[:, :, None], -torch.inf)
        return logits

    def _forbidden(self, input_ids: Tensor) -> Tensor | None:
        """Boolean ``[B, N, V]``: symbols that cannot follow, given the symbol before them.

        None where every symbol has its trained probability. A model normalized by format has
        specials alone after specials, with bytes inside raw text, with compressed symbols inside
        compressed text.
        """
        facts = self.config.proxylm
        if facts is None or facts["softmax"] != "by_format":
            return None
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


def _loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy of the next symbol, nats; ``logits [B, N, V]``."""
    targets = labels[:, 1:].to(logits.device).flatten()
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets, ignore_index=IGNORED_LABEL)
