"""The first signal asks, the second one acts, and handlers are put back."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from proxylm.ranks import Ranks
from proxylm.training.run import stop_on_signal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_a_request(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    asked: list[str] = []
    with stop_on_signal(asked.append):
        assert not asked
        os.kill(os.getpid(), number)
        assert asked == [number.name]
    assert signal.getsignal(number) is before


def test_a_second_interrupt_acts_at_once() -> None:
    asked: list[str] = []
    with pytest.raises(KeyboardInterrupt), stop_on_signal(asked.append):
        os.kill(os.getpid(), signal.SIGINT)
        assert asked == ["SIGINT"]
        os.kill(os.getpid(), signal.SIGINT)


def test_ranks_may_be_asked_twice() -> None:
    asked: list[str] = []
    before = signal.getsignal(signal.SIGTERM)
    with stop_on_signal(asked.append, Ranks(rank=1, world=2)):
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)
    assert asked == ["SIGTERM", "SIGTERM"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_handlers_are_put_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError), stop_on_signal(print):
        raise RuntimeError
    assert signal.getsignal(signal.SIGTERM) is before


def test_other_threads_run_without_handlers() -> None:
    before, seen = signal.getsignal(signal.SIGTERM), []

    def body() -> None:
        with stop_on_signal(seen.append):
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert seen == [before]
