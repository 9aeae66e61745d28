"""Confines its own process, then runs a program; started by sandbox.py as a script, never imported.

It runs under `python -I -S`, so it may use the standard library only. It reads one JSON object from standard input,
gives up what sandbox.py lists, runs the program, and writes one JSON line that begins with the token it was given.
"""

import ctypes
import json
import os
import resource
import stat
import struct
import sys
import types

# Numbers of system calls and the architecture as Linux's headers give them for x86-64.
AUDIT_ARCH_X86_64 = 0xC000003E
X32_BIT = 0x40000000
ALLOWED = {
    # reading and writing what is open, and opening more where Landlock lets it
    "read": 0, "write": 1, "close": 3, "fstat": 5, "lseek": 8, "pread64": 17, "pwrite64": 18, "readv": 19,
    "writev": 20, "dup": 32, "dup2": 33, "dup3": 292, "pipe": 22, "pipe2": 293, "fcntl": 72, "fsync": 74,
    "fdatasync": 75, "ftruncate": 77, "openat": 257, "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270,
    # looking at and changing directories
    "stat": 4, "lstat": 6, "newfstatat": 262, "statx": 332, "access": 21, "faccessat": 269, "faccessat2": 439,
    "getcwd": 79, "chdir": 80, "fchdir": 81, "getdents64": 217, "readlink": 89, "readlinkat": 267, "rename": 82,
    "renameat": 264, "renameat2": 316, "mkdir": 83, "mkdirat": 258, "rmdir": 84, "unlink": 87, "unlinkat": 263,
    # memory
    "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "madvise": 28,
    # its own signals, time and identity
    "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131, "setitimer": 38, "alarm": 37,
    "nanosleep": 35, "clock_nanosleep": 230, "restart_syscall": 219, "clock_gettime": 228, "clock_getres": 229,
    "gettimeofday": 96, "time": 201, "times": 100, "getrusage": 98, "getrandom": 318, "uname": 63, "sysinfo": 99,
    "getpid": 39, "gettid": 186, "getppid": 110, "getuid": 102, "geteuid": 107, "getgid": 104, "getegid": 108,
    "umask": 95, "sched_yield": 24, "sched_getaffinity": 204, "futex": 202, "rseq": 334,
    "exit": 60, "exit_group": 231,
}  # fmt: skip
# (call, argument, mask, value): refused although the call is allowed, where the masked argument is the value.
REFUSED = (
    ("openat", 2, os.O_ACCMODE | os.O_TRUNC, os.O_RDONLY | os.O_TRUNC),  # empties a file that may only be read
    ("fcntl", 1, 0xFFFFFFFF, 8),  # F_SETOWN, F_SETSIG and F_SETOWN_EX send signals to other processes
    ("fcntl", 1, 0xFFFFFFFF, 10),
    ("fcntl", 1, 0xFFFFFFFF, 15),
)

LANDLOCK_CREATE_RULESET, LANDLOCK_ADD_RULE, LANDLOCK_RESTRICT_SELF = 444, 445, 446
# How many of the file system's access rights each version of Landlock knows.
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
READ = 1 << 2 | 1 << 3  # files and directories
# Write, remove, make directories and files, move between directories, truncate.
IN_FOLDER = READ | 1 << 1 | 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8 | 1 << 13 | 1 << 14

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 1, 38, 22, 2
SIGKILL = 9


def main() -> None:
    """Read the order, confine this process, run the program, report."""
    order = json.load(sys.stdin.buffer)
    os.environ.clear()  # the interpreter itself adds LC_CTYPE
    report = os.dup(1)
    null = os.open("/dev/null", os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    try:
        confine(order)
    except OSError as error:
        outcome = {"outcome": "unconfined", "detail": str(error)}
    else:
        outcome = run(order["program"])
    os.write(report, (order["token"] + json.dumps(outcome) + "\n").encode())
    os._exit(0)


def run(program: str) -> dict[str, str]:
    """How the program ended: it ran to its end, or it raised."""
    # Not `__main__`: as in the official harness, what an answer guards by that name does not run. A module that is
    # registered, because dataclasses look theirs up.
    module = sys.modules["answer"] = types.ModuleType("answer")
    try:
        exec(compile(program, "<program>", "exec"), module.__dict__)
    except BaseException as error:  # SystemExit too: an early exit is not the end of the program
        try:
            detail = f"{type(error).__name__}: {error}"[:300]
        except BaseException:
            detail = type(error).__name__
        return {"outcome": "raised", "detail": detail}
    return {"outcome": "finished", "detail": ""}


def confine(order: dict) -> None:
    """Give up what the program must not have; OSError where the kernel refuses a layer."""
    libc = ctypes.CDLL(None, use_errno=True)
    call(libc.prctl, "parent death signal", PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    call(libc.prctl, "no_new_privs", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    for name, bound in order["limits"].items():
        resource.setrlimit(getattr(resource, name), (bound, bound))
    confine_files(libc, order["folder"], order["readable"])
    confine_calls(libc)


def confine_files(libc: ctypes.CDLL, folder: str, readable: list[str]) -> None:
    """Landlock: write below the folder only, read there and in the readable paths only, no TCP, no signals out."""
    version = libc.syscall(LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        raise OSError("the kernel has no Landlock")
    handled = (1 << FILE_RIGHTS.get(version, 16)) - 1
    # struct landlock_ruleset_attr grew with the versions: files, then TCP (4), then scopes (6).
    ruleset = [handled, 0b11, 0b11][: 1 if version < 4 else 2 if version < 6 else 3]
    attributes = struct.pack(f"={len(ruleset)}Q", *ruleset)
    rules = call(libc.syscall, "Landlock", LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    for path, rights in [(folder, IN_FOLDER), *((path, READ) for path in readable)]:
        try:
            parent = os.open(path, os.O_PATH)
        except FileNotFoundError:
            continue  # not every system has every one of them
        rights &= handled if stat.S_ISDIR(os.fstat(parent).st_mode) else 1 << 2
        call(libc.syscall, "Landlock rule", LANDLOCK_ADD_RULE, rules, 1, struct.pack("=Qi", rights, parent), 0)
        os.close(parent)
    call(libc.syscall, "Landlock", LANDLOCK_RESTRICT_SELF, rules, 0)
    os.close(rules)


def confine_calls(libc: ctypes.CDLL) -> None:
    """seccomp: every system call that is not allowed above fails with EPERM."""
    load, jump_equal, jump_at_least, mask, leave = 0x20, 0x15, 0x35, 0x54, 0x06
    allow, kill, refuse = 0x7FFF0000, 0x80000000, 0x00050000 | 1  # the last: EPERM
    program = [
        (load, 0, 0, 4),  # architecture
        (jump_equal, 1, 0, AUDIT_ARCH_X86_64),
        (leave, 0, 0, kill),
        (load, 0, 0, 0),  # number of the call
        (jump_at_least, 0, 1, X32_BIT),
        (leave, 0, 0, kill),
    ]
    for name, argument, bits, value in REFUSED:
        program += [
            (jump_equal, 0, 5, ALLOWED[name]),
            (load, 0, 0, 16 + 8 * argument),  # low half: these arguments are 32 bits wide
            (mask, 0, 0, bits),
            (jump_equal, 0, 1, value),
            (leave, 0, 0, refuse),
            (load, 0, 0, 0),
        ]
    for number in ALLOWED.values():
        program += [(jump_equal, 0, 1, number), (leave, 0, 0, allow)]
    program.append((leave, 0, 0, refuse))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    call(libc.prctl, "seccomp", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, header, 0, 0)


def call(function, layer: str, *arguments) -> int:
    """Result of a C function; OSError naming the layer where it fails."""
    result = function(*arguments)
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{layer}: {os.strerror(ctypes.get_errno())}")
    return result


if __name__ == "__main__":
    main()
