"""Becomes another program that dies with its parent: `launch.py PARENT SIGNAL UID GID PROGRAM [ARGUMENT …]`.

A separate small program, because Python code run between fork and exec can hang in a process with threads. It is
started as root where the parent is root, and gives that up itself, so that it needs no readable Python for UID.
Standard library only.
"""

import ctypes
import os
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Drop to UID and GID (-1 keeps them), ask the kernel for SIGNAL when PARENT ends, and exec."""
    parent, death_signal, uid, gid = (int(value) for value in sys.argv[1:5])
    program = sys.argv[5:]
    if uid >= 0:
        os.setgroups([])
        os.setgid(gid)
        os.setuid(uid)
    if sys.platform == "linux":
        # After setuid, because changing the user clears it; exec keeps it.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
    os.execv(program[0], program)  # noqa: S606  there is no shell, and that is wanted


main()
