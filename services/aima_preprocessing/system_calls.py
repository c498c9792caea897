"""Which system calls a decoder may make; the kernel refuses the others (seccomp).

A short list of what may be done rather than a long one of what may not: new calls of newer kernels
are refused from the start. Refused calls fail with EPERM, so that a library can go on without.
"""

import errno
import importlib
import os
from typing import Any

_ALLOWED = [
    "brk",
    "clock_getres",
    "clock_gettime",
    "clock_nanosleep",
    "close",
    "exit",
    "exit_group",
    "fcntl",
    "fstat",
    "futex",
    "get_robust_list",
    "getcpu",
    "getegid",
    "geteuid",
    "getgid",
    "getpid",
    "getppid",
    "getrandom",
    "getrusage",
    "gettid",
    "gettimeofday",
    "getuid",
    "lseek",
    "madvise",
    "membarrier",
    "mremap",
    "munmap",
    "nanosleep",
    "poll",
    "ppoll",
    "pread64",
    "preadv",
    "preadv2",
    "read",
    "readv",
    "restart_syscall",
    "rseq",
    "rt_sigaction",
    "rt_sigprocmask",
    "rt_sigreturn",
    "sched_getaffinity",
    "sched_yield",
    "set_robust_list",
    "set_tid_address",
    "sigaltstack",
    "sysinfo",
    "times",
    "write",
    "writev",
]

_CLONE_THREAD = 0x10000
_PROT_EXEC = 0x4
_PR_SET_NAME = 15
_PR_SET_VMA = 0x53564D41


def allow_only_decoding() -> None:
    """Bind this process to the list, all its threads included; raise `OSError` or `RuntimeError`.

    Threads may be started, processes not; memory may be had, but not to run code from.
    """
    seccomp = _library()
    rules = seccomp.SyscallFilter(seccomp.ERRNO(errno.EPERM))
    rules.set_attr(seccomp.Attr.CTL_TSYNC, 1)
    for name in _ALLOWED:
        _allow(seccomp, rules, name)
    is_equal, is_masked = seccomp.EQ, seccomp.MASKED_EQ
    _allow(seccomp, rules, "clone", seccomp.Arg(0, is_masked, _CLONE_THREAD, _CLONE_THREAD))
    # The C library turns to `clone`, whose flags can be looked at, when there is no `clone3`.
    rules.add_rule(seccomp.ERRNO(errno.ENOSYS), "clone3")
    _allow(seccomp, rules, "mmap", seccomp.Arg(2, is_masked, _PROT_EXEC, 0))
    _allow(seccomp, rules, "mprotect", seccomp.Arg(2, is_masked, _PROT_EXEC, 0))
    _allow(seccomp, rules, "prctl", seccomp.Arg(0, is_equal, _PR_SET_NAME))
    _allow(seccomp, rules, "prctl", seccomp.Arg(0, is_equal, _PR_SET_VMA))
    # Its own limits, and signals to itself (abort).
    _allow(seccomp, rules, "prlimit64", seccomp.Arg(0, is_equal, 0))
    _allow(seccomp, rules, "tgkill", seccomp.Arg(0, is_equal, os.getpid()))
    rules.load()


def find_library() -> bool:
    """Load the library, so that nothing is looked up later; False when it is missing."""
    try:
        _library()
    except ImportError:
        return False
    return True


def _library() -> Any:
    try:
        return importlib.import_module("pyseccomp")
    except (RuntimeError, OSError) as error:
        raise ImportError("libseccomp2 is not installed") from error


def _allow(seccomp: Any, rules: Any, name: str, *arguments: Any) -> None:
    number = seccomp.resolve_syscall(seccomp.Arch.NATIVE, name)
    if number >= 0:  # not every processor architecture has every call
        rules.add_rule(seccomp.ALLOW, number, *arguments)
