"""What one server takes on at once; whatever is beyond is refused with a status that says so."""

from __future__ import annotations

from pydantic import Field

from proxylm.config import Config
from proxylm.limits import MAX_CONTEXT

MAX_STOP_STRINGS = 4
MAX_STOP_BYTES = 256
"""Longest stop string: every new byte is compared with all beginnings of all stop strings."""
MAX_CHOICES = 128
MAX_ALTERNATIVES = 5
"""Largest ``logprobs`` of a request, as in OpenAI's interface."""
MAX_SCORED_BYTES = 1 << 18
"""Of the prompts that one request has shown with log-probabilities: bounds the answer's memory."""
MAX_TEMPERATURE = 2.0
MAX_NAME_CHARACTERS = 512


class ServingLimits(Config):
    """Bounds on memory, on work, and on patience with clients.

    Attributes:
        max_rows: sequences decoded together; a request has prompts times ``n`` of them.
        max_queue: further sequences that may wait for a row; beyond that the answer is 429.
        max_length_bytes: most bytes of one prompt and its completion together; of what is read as
            symbols, these count. (default: the model's context)
        max_prefix_bytes: memory for the keys and values of what was read, from which prompts that
            begin alike go on; 0 keeps nothing.
        max_body_bytes: largest body of a request; beyond that the answer is 413.
        max_open_bodies: requests whose bodies are being read at once; beyond that the answer is
            503 before the body is read.
        client_seconds: a client that takes longer to send a request, or to take in what is
            waiting for it, is disconnected.
        drain_seconds: how long running requests may go on after SIGTERM.
    """

    max_rows: int = Field(default=8, ge=1, le=1024)
    max_queue: int = Field(default=64, ge=0, le=65536)
    max_length_bytes: int = Field(default=MAX_CONTEXT, ge=1, le=MAX_CONTEXT)
    max_prefix_bytes: int = Field(default=256 << 20, ge=0, le=1 << 40)
    max_body_bytes: int = Field(default=4 << 20, ge=1024, le=1 << 30)
    max_open_bodies: int = Field(default=256, ge=1, le=65536)
    client_seconds: float = Field(default=30.0, gt=0, le=3600)
    drain_seconds: float = Field(default=30.0, ge=0, le=3600)

    @property
    def max_sequences(self) -> int:
        """Sequences in the server at once, running and waiting."""
        return self.max_rows + self.max_queue
