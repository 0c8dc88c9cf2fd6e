"""Requests of one session wait for each other, those of different sessions do not."""

import threading
from concurrent.futures import CancelledError

import pytest

from ruvllm.orchestrator import SessionQueue


def never() -> bool:
    return False


def in_thread(queue: SessionQueue, session: str, cancelled: threading.Event, timeout_s: float) -> list[BaseException]:
    """Take a turn on another thread; return what it raised."""
    raised: list[BaseException] = []

    def take() -> None:
        try:
            with queue.turn(session, cancelled=cancelled.is_set, timeout_s=timeout_s):
                pass
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=take)
    thread.start()
    thread.join(30)
    return raised


def test_one_session_runs_one_request_at_a_time() -> None:
    queue, running, most = SessionQueue(), 0, 0

    def request() -> None:
        nonlocal running, most
        with queue.turn("a", cancelled=never, timeout_s=30):
            running += 1
            most = max(most, running)
            threading.Event().wait(0.001)
            running -= 1

    threads = [threading.Thread(target=request) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_other_sessions_do_not_wait() -> None:
    queue = SessionQueue()
    with queue.turn("a", cancelled=never, timeout_s=30):
        assert in_thread(queue, "b", threading.Event(), 0.0) == []


def test_waiting_ends_at_the_timeout_and_when_cancelled() -> None:
    queue, cancelled = SessionQueue(), threading.Event()
    with queue.turn("a", cancelled=never, timeout_s=30):
        assert isinstance(in_thread(queue, "a", cancelled, 0.0)[0], TimeoutError)
        cancelled.set()
        assert isinstance(in_thread(queue, "a", cancelled, 30)[0], CancelledError)


def test_a_thread_cannot_wait_for_itself() -> None:
    queue = SessionQueue()
    with (
        queue.turn("a", cancelled=never, timeout_s=30),
        pytest.raises(RuntimeError, match="unfinished stream"),
        queue.turn("a", cancelled=never, timeout_s=30),
    ):
        pass


def test_a_thread_waits_for_a_stream_that_another_reads_on() -> None:
    queue = SessionQueue()
    with queue.turn("a", cancelled=never, timeout_s=30) as place:
        reader = threading.Thread(target=place.read_on)
        reader.start()
        reader.join(30)
        with pytest.raises(TimeoutError), queue.turn("a", cancelled=never, timeout_s=0.0):
            pass


def test_a_request_that_fails_frees_its_session() -> None:
    queue = SessionQueue()
    with pytest.raises(KeyError), queue.turn("a", cancelled=never, timeout_s=30):
        raise KeyError
    assert in_thread(queue, "a", threading.Event(), 0.0) == []


def test_requests_run_in_the_order_they_came() -> None:
    queue, order = SessionQueue(), []
    threads = []

    def request(number: int) -> None:
        with queue.turn("a", cancelled=never, timeout_s=30):
            order.append(number)

    with queue.turn("a", cancelled=never, timeout_s=30):
        for number in range(30):
            threads.append(threading.Thread(target=request, args=(number,)))
            threads[-1].start()
            while len(queue._lines["a"]) < number + 2:
                threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert order == list(range(30)) and queue._lines == {}


def test_who_gives_up_waiting_leaves_the_line() -> None:
    queue = SessionQueue()
    with queue.turn("a", cancelled=never, timeout_s=30):
        in_thread(queue, "a", threading.Event(), 0.0)
    assert in_thread(queue, "a", threading.Event(), 0.0) == [] and queue._lines == {}
