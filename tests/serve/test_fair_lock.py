"""Who gets a lock next."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from dupwatchd.serve.fair_lock import FairLock


def test_one_thread_at_a_time_holds_it() -> None:
    lock, inside, together = FairLock(), [0], []

    def work() -> None:
        for _ in range(200):
            with lock:
                inside[0] += 1
                together.append(inside[0])
                time.sleep(0)
                inside[0] -= 1

    with ThreadPoolExecutor(8) as threads:
        for one in [threads.submit(work) for _ in range(8)]:
            one.result(20)
    assert set(together) == {1}
    assert len(together) == 1600


def test_who_has_waited_longest_comes_next_and_not_who_has_just_given_it_up() -> None:
    lock, order = FairLock(), list[str]()
    lock.__enter__()
    waits = [threading.Thread(target=lambda name: take(name), args=(f"waits {number}",)) for number in range(3)]

    def take(name: str) -> None:
        with lock:
            order.append(name)

    for number, thread in enumerate(waits, 1):
        thread.start()
        while len(lock._waiting) < number:
            time.sleep(0.001)
    lock.__exit__(None, None, None)
    take("again")
    for thread in waits:
        thread.join()
    assert order == ["waits 0", "waits 1", "waits 2", "again"]
