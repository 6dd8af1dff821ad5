"""What the server tells Prometheus about itself, in a registry of its own."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from proxylm.generation.prefix_memory import PrefixMemory

COMPLETIONS = "/v1/completions"
CHAT_COMPLETIONS = "/v1/chat/completions"
TOKENIZATION = ("/tokenize", "/detokenize", "/tokenizer_info")
PATHS = (COMPLETIONS, CHAT_COMPLETIONS, "/v1/models", *TOKENIZATION, "/metrics", "/healthz")
OTHER_PATH = "other"
_SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)


class ServingMetrics:
    """Counters, gauges and histograms of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        counter = partial(Counter, registry=self.registry)
        gauge = partial(Gauge, registry=self.registry)
        histogram = partial(Histogram, buckets=_SECONDS, registry=self.registry)
        self.requests = counter("proxylm_requests", "Answered requests.", ["path", "status"])
        self.request_seconds = histogram(
            "proxylm_request_seconds",
            "From a request's head to the last byte of its answer.",
            ["path"],
        )
        self.first_byte_seconds = histogram(
            "proxylm_first_byte_seconds",
            "From a sequence's arrival, queueing included, to its first bytes.",
        )
        self.prompt_bytes = counter(
            "proxylm_prompt_bytes", "Bytes of accepted prompts, each once for all its completions."
        )
        self.new_bytes = counter("proxylm_new_bytes", "Bytes generated and handed out.")
        self.passes = counter("proxylm_forward_passes", "Forward passes over all rows.")
        self.cancelled = counter(
            "proxylm_cancelled_sequences", "Sequences whose client left before they were done."
        )
        self.running = gauge("proxylm_running_sequences", "Sequences that have a row.")
        self.waiting = gauge("proxylm_waiting_sequences", "Sequences that wait for a row.")


class PrefixMetrics(Collector):
    """What the memory of prompts' beginnings says of itself, when it is asked."""

    def __init__(self, prefixes: PrefixMemory) -> None:
        self._prefixes = prefixes

    def collect(self) -> Iterator[Metric]:
        """See the base class."""
        prefixes = self._prefixes
        yield CounterMetricFamily(
            "proxylm_prefix_hits",
            "Sequences that went on from what was read before.",
            value=prefixes.hits,
        )
        yield CounterMetricFamily(
            "proxylm_prefix_reused_symbols",
            "Symbols of prompts that were not read again.",
            value=prefixes.reused_symbols,
        )
        yield GaugeMetricFamily(
            "proxylm_prefix_bytes",
            "Memory of keys and values kept for prompts that begin alike.",
            value=prefixes.bytes,
        )


class RequestMetrics:
    """An ASGI layer that counts every answer with its path and status."""

    def __init__(self, app: ASGIApp, metrics: ServingMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, looking at the status that goes out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        # Paths are the clients' to choose: only known ones become labels.
        path = scope["path"] if scope["path"] in PATHS else OTHER_PATH
        start = time.perf_counter()

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        try:
            await self._app(scope, receive, counting)
        finally:
            seconds = time.perf_counter() - start
            self._metrics.request_seconds.labels(path).observe(seconds)
