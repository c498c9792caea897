"""Landlock: a process gives up the file system, for good, without being root.

The kernel offers three calls and no C library wraps them (kernel documentation, "Landlock:
unprivileged access control"). The rules here are the simplest there are: nothing below any path may
be opened, listed, made, run or removed, no TCP port bound or reached, no signal sent outside.
Descriptors that are open already keep working.
"""

import ctypes
import os
import struct

_CREATE_RULESET = 444
_RESTRICT_SELF = 446
_VERSION_FLAG = 1
_NO_NEW_PRIVILEGES = 38

_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights over files each version knows; from version 5 on there are 16."""

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Tell which version of Landlock the kernel offers; 0 when it offers none."""
    answer = int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION_FLAG)))
    return max(answer, 0)


def forbid_new_privileges() -> None:
    """Make sure that nothing this process runs can gain rights; raise `OSError`."""
    _check(int(_libc.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0)), "no_new_privs")


def give_up_files() -> None:
    """Give up every path; raise `OSError` when the kernel will not do it.

    Needs `forbid_new_privileges` first. Binds this thread and the threads it starts.
    """
    offered = version()
    if offered < 1:
        raise OSError("the kernel offers no Landlock")
    files = (1 << _FILE_RIGHTS.get(offered, 16)) - 1
    network = 0b11 if offered >= 4 else 0
    scopes = 0b11 if offered >= 6 else 0
    attributes = struct.pack("=QQQ", files, network, scopes)
    if offered < 4:
        attributes = attributes[:8]
    elif offered < 6:
        attributes = attributes[:16]
    rules = int(_libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)))
    _check(rules, "Landlock rule set")
    try:
        _check(int(_libc.syscall(_RESTRICT_SELF, ctypes.c_int(rules), ctypes.c_uint32(0))), "Landlock")
    finally:
        os.close(rules)


def _check(answer: int, what: str) -> None:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
