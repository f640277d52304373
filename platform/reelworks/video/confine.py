"""Takes rights from the process that calls it: the decoding child, which handles hostile bytes.

CPU seconds and address space by resource limits; files, network and other programs by a seccomp filter.
"""

import ctypes
import math
import platform
import resource
import struct

_PR_SET_NO_NEW_PRIVS = 38
_PR_SET_SECCOMP = 22
_SECCOMP_MODE_FILTER = 2
_RET_ALLOW = 0x7FFF0000
_RET_ERRNO = 0x00050000
_EACCES = 13

_FORBIDDEN = {
    # open creat openat openat2; socket connect bind listen; execve execveat; ptrace; fork vfork; unlink rename
    "x86_64": (0xC000003E, (2, 85, 257, 437, 41, 42, 49, 50, 59, 322, 101, 57, 58, 87, 263, 82, 264, 316)),
    "aarch64": (0xC00000B7, (56, 437, 198, 203, 200, 201, 221, 281, 117, 35, 38, 276)),
}
"""Audit architecture and numbers of the system calls that fail with EACCES from then on."""


def limit_cpu(seconds: float) -> None:
    """End this process (SIGXCPU) when it has used that many more CPU seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    soft = math.ceil(usage.ru_utime + usage.ru_stime + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, resource.RLIM_INFINITY))


class MemoryLimit:
    """Bounds the address space above what is mapped now; opened before files are forbidden."""

    def __init__(self) -> None:
        self._statm = open("/proc/self/statm", "rb", buffering=0)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))

    def set(self, extra_bytes: int) -> None:
        self._statm.seek(0)
        mapped = int(self._statm.read(64).split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (mapped + extra_bytes, resource.RLIM_INFINITY))


def forbid_files_and_network() -> bool:
    """Make opening files, sockets and programs fail from now on; False where the kernel offers no filter for that."""
    known = _FORBIDDEN.get(platform.machine())
    if known is None:
        return False
    architecture, calls = known
    program = _filter(architecture, calls)
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = ctypes.create_string_buffer(struct.pack("@HP", len(program), ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
    if prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
        return False
    return prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(header), 0, 0) == 0


def _filter(architecture: int, calls: tuple[int, ...]) -> list[tuple[int, int, int, int]]:
    """A classic BPF program (code, jump if true, jump if false, constant) over seccomp's (number, architecture, …)."""
    load, equal, give = 0x20, 0x15, 0x06
    refuse = [(give, 0, 0, _RET_ERRNO | _EACCES)]
    compare = [(equal, len(calls) - at, 0, call) for at, call in enumerate(calls)]
    # A call by another architecture's numbers is refused too: it would pass the comparison unseen.
    head = [(load, 0, 0, 4), (equal, 1, 0, architecture), *refuse, (load, 0, 0, 0)]
    return [*head, *compare, (give, 0, 0, _RET_ALLOW), *refuse]
