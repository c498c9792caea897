"""Run a command that dies with the process that started it.

Started as `python -I -S launch.py <pid of the parent> <command...>`. It asks the kernel to be killed when its
parent ends (prctl 1, PR_SET_PDEATHSIG), which survives the exec, and then becomes the command.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Become the command, unless the parent has gone already."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"prctl failed with error {ctypes.get_errno()}")
    if os.getppid() != parent:
        sys.exit("the parent ended before this process began")
    os.execvp(command[0], command)  # noqa: S606 - becoming the command is the point


if __name__ == "__main__":
    main()
