"""Limits that hold unless others are given; a module of its own so that ``--help`` stays light."""

from __future__ import annotations

MAX_ROWS = 8
MAX_QUEUE = 64
CLIENT_SECONDS = 30.0
DRAIN_SECONDS = 30.0
