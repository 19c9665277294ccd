"""Memory that is freed stays with the process: what malloc has to do with how fast a CPU trains.

glibc takes blocks of more than 32 MB from the system one by one and gives each back as soon as it
is freed. The maps of a batch are such blocks, and the same ones are wanted at every step: each time
the system has to find, zero and map their pages, thousands a step, while nothing is computed
(docs/performance.md has the measurement).
"""

import ctypes
from typing import Final

# From glibc's malloc.h.
_TRIM_THRESHOLD: Final = -1
_MMAP_MAX: Final = -4


def keep_memory() -> bool:
    """Have malloc keep what is freed, for as long as the process lives.

    Its size stays what it was at its largest. Calling this again changes nothing.

    Returns:
        Whether it does: False where malloc is not glibc's.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_MMAP_MAX, 0)) and bool(mallopt(_TRIM_THRESHOLD, -1))
