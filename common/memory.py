"""Keeping memory instead of handing it back and asking for it again."""
import ctypes

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # malloc.h


def keep_freed_memory() -> None:
    """Make the C library reuse large blocks it has freed; where that is not glibc, do nothing.

    By default blocks of more than 32 MB come fresh from the kernel each time, page by page. A network's
    tensors are of that size, and touching them for the first time costs more than most of its operations.
    The process's peak of memory hardly changes; what it once used it keeps until it ends.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc: another C library, or Windows
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)  # as an unsigned number: never
