"""How much memory there is, and how much of it pictures may take."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from chainrule.errors import is_integer, require, setting

SHARE = 0.5
"""The share of the free memory that pictures may take by default."""

UNITS = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}

GROUPS = Path("/sys/fs/cgroup")


def most_memory(chosen: int | str | None = None, name: str = "memory") -> int:
    """The bytes that data may take: these, a text such as "2GB", or by default half of what is
    free. `name` is that of the setting.

    Raises SettingError for anything else.

    Examples:
        >>> most_memory("2GB"), most_memory(500_000)
        (2000000000, 500000)
    """
    if chosen is None:
        return int(SHARE * free())
    rule = f"it is a number of bytes, or a text such as {setting(name, '2GB')}"
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?B)?\s*", str(chosen), re.IGNORECASE)
    given = isinstance(chosen, str) or is_integer(chosen)
    require(given and found is not None, f"the {name} is {chosen!r}; {rule}")
    assert found is not None
    most = float(found[1]) * UNITS[(found[2] or "B").upper()]
    require(1 <= most < 1e18, f"the {name} is {chosen!r}; {rule}")
    return int(most)


def free() -> int:
    """The bytes that this process may still take: what the machine has available, the limit of its
    control group and its own limits allow.
    """
    return max(min(_bounds(), default=4 * 10**9), 0)


def _bounds() -> Iterator[int]:
    with suppress(OSError, ValueError, KeyError):
        yield _fields("/proc/meminfo")["MemAvailable"]
    with suppress(OSError, ValueError):  # version 2, then version 1
        yield int((GROUPS / "memory.max").read_text()) - int((GROUPS / "memory.current").read_text())
    with suppress(OSError, ValueError):
        group = GROUPS / "memory"
        most, used = (int((group / f"memory.{name}_in_bytes").read_text()) for name in ("limit", "usage"))
        yield most - used
    with suppress(ImportError, OSError, ValueError, KeyError):
        import resource

        sizes = _fields("/proc/self/status")
        for limit, name in ((resource.RLIMIT_AS, "VmSize"), (resource.RLIMIT_DATA, "VmData")):
            most, _ = resource.getrlimit(limit)
            if most != resource.RLIM_INFINITY:
                yield most - sizes[name]
    if not Path("/proc/meminfo").exists() and hasattr(os, "sysconf"):
        with suppress(OSError, ValueError):  # macOS, which does not say how much is free
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def _fields(path: str) -> dict[str, int]:
    """The sizes in a file of lines such as "VmData: 1234 kB", in bytes."""
    found: dict[str, Any] = dict(line.split(":", 1) for line in Path(path).read_text().splitlines() if ":" in line)
    return {name: int(value.split()[0]) * 1024 for name, value in found.items() if value.strip().endswith("kB")}
