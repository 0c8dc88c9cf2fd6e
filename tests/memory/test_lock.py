"""ruvllm/memory/lock.py: readers and writers take turns."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ruvllm.memory.lock import ReadWriteLock


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.001)


def test_who_waits_to_read_comes_before_the_next_writer() -> None:
    lock, order = ReadWriteLock(), list[str]()

    def read() -> None:
        with lock.reading():
            order.append("read")

    reader = threading.Thread(target=read)
    with lock.writing():
        reader.start()
        wait_until(lambda: lock._readers_waiting == 1)
    with lock.writing():
        order.append("write")
    reader.join()
    assert order == ["read", "write"]


def test_who_waits_to_write_comes_before_the_next_reader() -> None:
    lock, order = ReadWriteLock(), list[str]()

    def write() -> None:
        with lock.writing():
            order.append("write")

    writer = threading.Thread(target=write)
    with lock.reading():
        writer.start()
        wait_until(lambda: lock._writers_waiting == 1)
    with lock.reading():
        order.append("read")
    writer.join()
    assert order == ["write", "read"]


def test_writers_are_alone(count: int = 200) -> None:
    lock, seen = ReadWriteLock(), {"inside": 0, "done": 0}

    def write() -> None:
        for _ in range(count):
            with lock.writing():
                assert seen["inside"] == 0
                seen["inside"] += 1
                seen["done"] += 1
                seen["inside"] -= 1

    def read() -> None:
        for _ in range(count):
            with lock.reading():
                assert seen["inside"] == 0

    threads = [threading.Thread(target=target) for target in (write, read) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert seen["done"] == 3 * count
