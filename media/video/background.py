"""Work done in another thread, with queues of bounded length between the two."""
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
_END = object()


def prefetch(items: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Iterate over `items` in another thread, at most `depth` ahead of the consumer.

    An exception there is raised here, in its place among the items. Closing the generator ends the thread.
    """
    waiting: queue.Queue = queue.Queue(depth)
    stop = threading.Event()

    def put(item) -> bool:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def work() -> None:
        try:
            for item in items:
                if not put((item, None)):
                    break
            else:
                put((_END, None))
        except BaseException as error:  # raised again in the consumer's thread
            put((_END, error))
        finally:
            if hasattr(items, "close"):
                items.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stop.set()
        thread.join()


class CallQueue:
    """Makes calls one after another in another thread; `put` waits while `depth` of them are waiting already.

    A context manager: leaving it waits until all calls are made, or, with an exception, drops those that have not
    begun. An exception in a call is raised by the next `put`, or on leaving; no call is made after it.
    """

    def __init__(self, depth: int):
        self._waiting: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._drop = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def put(self, call: Callable, *arguments) -> None:
        while True:
            self._check()
            try:
                return self._waiting.put((call, arguments), timeout=0.1)
            except queue.Full:
                continue

    def __enter__(self) -> "CallQueue":
        self._thread.start()
        return self

    def __exit__(self, kind, error, trace) -> None:
        self._drop = error is not None
        self._waiting.put(None)
        self._thread.join()
        if error is None:
            self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (item := self._waiting.get()) is not None:
            if self._error is None and not self._drop:
                try:
                    item[0](*item[1])
                except BaseException as error:  # raised again by `_check`
                    self._error = error
