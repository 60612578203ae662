"""Keeping libav's threads from waiting for Python.

With `av.logging.set_level`, each message of libav is given to Python's logging, for which the thread that logs needs
Python's lock. PyAV holds that lock while it closes a decoder or encoder and waits for its threads: whoever has set a
level may wait forever.
"""
import contextlib
import threading

import av


class unlogged(contextlib.ContextDecorator):  # noqa: N801, used like a function
    """While this context is entered, in any thread, libav's messages go nowhere; then to where they went before.

    As a decorator, it also covers what a function's variables hold, which is released when it returns.
    """

    _lock = threading.Lock()
    _entered = 0
    _level: int | None = None

    def __enter__(self) -> None:
        with self._lock:
            if not unlogged._entered:
                unlogged._level = av.logging.get_level()
                if unlogged._level is not None:
                    av.logging.set_level(None)
            unlogged._entered += 1

    def __exit__(self, *error) -> None:
        with self._lock:
            unlogged._entered -= 1
            if not unlogged._entered and unlogged._level is not None:
                av.logging.set_level(unlogged._level)
