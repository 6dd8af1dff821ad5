"""The one thread that runs the model: takes sequences in, decodes them together, hands out.

Whoever asks never waits here: ``submit`` refuses what does not fit into the queue, and what a
sequence yields is given to its ``on_event`` from the thread. Sequences start in the order in which
they came, as rows become free.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from proxylm.errors import ProxylmError
from proxylm.generation.batch_decoder import BatchDecoder
from proxylm.generation.decoding_row import ByteDelta
from proxylm.generation.request import DecodingRequest
from proxylm.serving.api_errors import ApiError, draining, internal, overloaded, stopped
from proxylm.serving.limits import ServingLimits
from proxylm.serving.metrics import ServingMetrics

_logger = logging.getLogger(__name__)

Event = ByteDelta | ApiError
"""What a sequence yields: bytes (the last delta has ``finish``), or an error."""


@dataclass(slots=True, kw_only=True, eq=False)
class ScheduledSequence:
    """One sequence: a prompt and what to do with it.

    Attributes:
        request: prompt, options, sample number.
        prompt_bytes: to be counted for it; of several completions of a prompt the first has them.
        on_event: called in the scheduler's thread with each event, in order.
        arrived: when it was submitted (``time.monotonic``).
        yielded: whether bytes of its own have come.
    """

    request: DecodingRequest
    prompt_bytes: int = 0
    on_event: Callable[[Event], None]
    arrived: float = field(default_factory=time.monotonic)
    yielded: bool = False


class Scheduler:
    """Owns the decoder and the thread; used as a context, which starts and stops it.

    Args:
        make_decoder: a new decoder with ``limits.max_rows`` rows; called again after a failure.
        limits: how much may run and wait.
        metrics: is kept up to date.

    Attributes:
        failure: why nothing can be decoded any more (no decoder could be made); None: all is well.
    """

    def __init__(
        self,
        make_decoder: Callable[[], BatchDecoder],
        *,
        limits: ServingLimits,
        metrics: ServingMetrics,
    ) -> None:
        self.failure: Exception | None = None
        self._make_decoder = make_decoder
        self._limits = limits
        self._metrics = metrics
        self._thread = threading.Thread(target=self._run, name="decoding")
        # Shared with other threads, under the condition's lock:
        self._changed = threading.Condition()
        self._waiting: deque[ScheduledSequence] = deque()
        self._leaving: set[ScheduledSequence] = set()
        self._open = 0
        self._draining = False
        self._stopping = False
        # The thread's own:
        self._running: dict[int, ScheduledSequence] = {}

    def __enter__(self) -> Scheduler:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
        self._thread.join()

    def submit(self, sequences: Sequence[ScheduledSequence]) -> None:
        """Take all of ``sequences`` or none.

        Raises:
            ApiError: 429 if they do not all fit into rows and queue, 503 while draining.
        """
        with self._changed:
            if self._draining or self._stopping:
                raise draining()
            if self._open + len(sequences) > self._limits.max_sequences:
                raise overloaded(1 + len(self._waiting) // self._limits.max_rows)
            self._open += len(sequences)
            self._waiting.extend(sequences)
            self._changed.notify()
        self._metrics.prompt_bytes.inc(sum(one.prompt_bytes for one in sequences))

    def cancel(self, sequences: Sequence[ScheduledSequence]) -> None:
        """Give up those that have not ended: their rows become free, and no event comes."""
        with self._changed:
            self._leaving.update(sequences)
            self._changed.notify()

    def drain(self) -> None:
        """From now on refuse what is new; sequences that are here go on."""
        with self._changed:
            self._draining = True

    def stop(self) -> None:
        """End the thread after the pass that it is in; open sequences get an error."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    @property
    def accepting(self) -> bool:
        """Whether new sequences are taken at all."""
        return not (self._draining or self._stopping)

    @property
    def ended(self) -> bool:
        """Whether the thread has come to its end, with every sequence told so."""
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._decode_until_stopped()
        except Exception as error:
            self._log(error)
            self.failure = error
            self.stop()  # before the sequences end: from here on none comes in
            self._end_all(internal)

    def _decode_until_stopped(self) -> None:
        decoder = self._make_decoder()
        while self._wait_for_work():
            try:
                self._take_in(decoder)
                self._decode(decoder)
            except Exception as error:
                self._log(error)
                self._end_all(internal)
                decoder = self._make_decoder()
            self._report()
        self._end_all(stopped)

    def _wait_for_work(self) -> bool:
        """False when it is time to stop."""
        with self._changed:
            while not (self._stopping or self._leaving or self._waiting or self._running):
                self._changed.wait()
            return not self._stopping

    def _take_in(self, decoder: BatchDecoder) -> None:
        """Drop the sequences whose clients left, and start as many as there are free rows."""
        with self._changed:
            leaving, self._leaving = self._leaving, set()
            if leaving:
                self._drop(leaving, decoder)
            starting = list(itertools.islice(self._waiting, decoder.free_rows))
        for sequence in starting:
            self._running[decoder.add(sequence.request)] = sequence
            with self._changed:  # only now: a sequence that cannot be started must not be lost
                self._waiting.popleft()

    def _drop(self, leaving: set[ScheduledSequence], decoder: BatchDecoder) -> None:
        for handle, sequence in list(self._running.items()):
            if sequence in leaving:
                decoder.cancel(handle)
                del self._running[handle]
        before = self._open
        self._waiting = deque(sequence for sequence in self._waiting if sequence not in leaving)
        self._open = len(self._waiting) + len(self._running)
        self._metrics.cancelled.inc(before - self._open)

    def _decode(self, decoder: BatchDecoder) -> None:
        if not self._running:
            return
        deltas = decoder.step()
        self._metrics.passes.inc()
        for delta in deltas:
            sequence = self._running[delta.handle]
            if not delta.of_prompt:
                self._count(delta.data, sequence)
            if delta.finish is not None:
                del self._running[delta.handle]
                with self._changed:
                    self._open -= 1
            sequence.on_event(delta)

    def _count(self, data: bytes, sequence: ScheduledSequence) -> None:
        self._metrics.new_bytes.inc(len(data))
        if data and not sequence.yielded:
            sequence.yielded = True
            self._metrics.first_byte_seconds.observe(time.monotonic() - sequence.arrived)

    def _end_all(self, error: Callable[[], ApiError]) -> None:
        with self._changed:
            sequences = {*self._running.values(), *self._waiting}
            self._running.clear()
            self._waiting.clear()
            self._open = 0
        for sequence in sequences:
            sequence.on_event(error())
        self._report()

    def _report(self) -> None:
        self._metrics.running.set(len(self._running))
        self._metrics.waiting.set(len(self._waiting))

    def _log(self, error: Exception) -> None:
        # What the model's files are to blame for is one line; our own mistakes keep their trace.
        trace = None if isinstance(error, ProxylmError) else error
        _logger.error("decoding failed: %s", error, exc_info=trace)
