"""What keeps memory from being given back and taken anew at every step."""

import ctypes
import sys


def keep_memory() -> None:
    """Let glibc keep what is freed (mallopt): giving it back and taking it anew costs up to half of a step. Elsewhere nothing."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        for option, value in ((-4, 0), (-1, 2**31 - 1), (-2, 2**28)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            libc.mallopt(option, value)
