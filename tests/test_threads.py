"""Work handed out to threads: order, modes, errors, and what it leaves as it was."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
import torch

from proxylm.threads import _executor, in_order, torch_threads


@pytest.fixture(autouse=True)
def four_threads() -> Iterator[None]:
    with torch_threads(4):
        yield


def test_results_come_in_order_whoever_is_first() -> None:
    def slow_at_first(item: int) -> int:
        time.sleep(0.02 if item % 3 == 0 else 0)
        return item * item

    assert list(in_order(slow_at_first, range(10), workers=3)) == [i * i for i in range(10)]


def test_as_many_at_a_time_as_there_are_workers() -> None:
    everybody = threading.Barrier(3, timeout=10)

    def together(item: int) -> str:
        everybody.wait()
        return threading.current_thread().name

    names = set(in_order(together, range(3), workers=3))
    assert len(names) == 3
    assert threading.current_thread().name not in names


def test_one_worker_is_the_caller() -> None:
    found = list(in_order(lambda item: threading.get_ident(), range(3), workers=1))
    assert set(found) == {threading.get_ident()}


def test_threads_are_shared_and_the_callers_number_stays() -> None:
    def number(item: int) -> int:
        return torch.get_num_threads()

    assert set(in_order(number, range(4), workers=4)) == {1}
    assert set(in_order(number, range(4), workers=2)) == {2}
    assert set(in_order(number, range(6), workers=3)) == {1}
    assert torch.get_num_threads() == 4
    others: list[int] = []
    new = threading.Thread(target=lambda: others.append(torch.get_num_threads()))
    new.start()
    new.join()
    assert others == [4]


def test_work_is_done_in_the_callers_modes() -> None:
    def modes(item: int) -> tuple[bool, bool, torch.dtype]:
        product = torch.ones(2, 2) @ torch.ones(2, 2)
        return torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), product.dtype

    assert set(in_order(modes, range(4), workers=2)) == {(True, False, torch.float32)}
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert set(in_order(modes, range(4), workers=2)) == {(False, True, torch.bfloat16)}
    assert set(in_order(modes, range(4), workers=2)) == {(True, False, torch.float32)}


def test_an_error_reaches_the_caller_and_ends_the_work() -> None:
    started = []

    def fails(item: int) -> int:
        started.append(item)
        if item == 2:
            raise ValueError("item 2")
        return item

    results = in_order(fails, range(100), workers=2)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ValueError, match="item 2"):
        next(results)
    time.sleep(0.05)
    assert len(started) <= 6
    assert list(in_order(abs, [-1, -2], workers=2)) == [1, 2]


def test_few_results_wait_to_be_taken() -> None:
    made = []
    results = in_order(made.append, range(100), workers=2)
    next(results)
    time.sleep(0.05)
    assert len(made) <= 4


def test_threads_of_other_numbers_end() -> None:
    others = set(threading.enumerate())
    for workers in range(2, 8):
        assert list(in_order(abs, range(workers), workers=workers)) == [*range(workers)]
    gc.collect()
    deadline = time.monotonic() + 10
    while len(kept := set(threading.enumerate()) - others) > 6 + 7:
        assert time.monotonic() < deadline, kept
        time.sleep(0.01)


def test_threads_that_cannot_start_leave_none_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    _executor.cache_clear()
    others, start = set(threading.enumerate()), threading.Thread.start

    def only_one(thread: threading.Thread) -> None:
        if set(threading.enumerate()) - others:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", only_one)
    with pytest.raises(RuntimeError, match="can't start"):
        list(in_order(abs, range(3), workers=3))
    monkeypatch.undo()
    for thread in set(threading.enumerate()) - others:
        thread.join(timeout=10)
        assert not thread.is_alive()
    assert torch.get_num_threads() == 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
@pytest.mark.filterwarnings("ignore:.*use of fork")
def test_a_forked_process_has_threads_of_its_own() -> None:
    assert list(in_order(abs, range(3), workers=2)) == [0, 1, 2]
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(42 if list(in_order(abs, range(3), workers=2)) == [0, 1, 2] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 42
