"""Work in threads of its own, with queues that hold only a few things."""
import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

T = TypeVar("T")
_END = object()


def ahead(things: Iterable[T], depth: int) -> Generator[T, None, None]:
    """Iterate over `things` in a thread, at most `depth` ahead of the consumer; exceptions arrive here.

    Closing the generator ends the thread.
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
            for thing in things:
                if not put((thing, None)):
                    break
            else:
                put((_END, None))
        except BaseException as error:  # handed over, whatever it is
            put((_END, error))
        finally:
            if hasattr(things, "close"):
                things.close()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while True:
            thing, error = waiting.get()
            if error is not None:
                raise error
            if thing is _END:
                return
            yield thing
    finally:
        stop.set()
        thread.join()


class Behind:
    """Calls handed over with `do` are made one after another in a thread, at most `depth` waiting.

    As a context manager: leaving it waits for them all, unless an exception is on its way: then what still waits
    is dropped. An exception in a call is raised by the next `do`, or on leaving.
    """

    def __init__(self, depth: int):
        self._waiting: queue.Queue = queue.Queue(depth)
        self._error: BaseException | None = None
        self._drop = False
        self._thread = threading.Thread(target=self._work, daemon=True)

    def do(self, call: Callable, *arguments) -> None:
        while True:
            self._check()
            try:
                return self._waiting.put((call, arguments), timeout=0.1)
            except queue.Full:
                continue

    def __enter__(self) -> "Behind":
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
                except BaseException as error:  # raised again where it is noticed
                    self._error = error
