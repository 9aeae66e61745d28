"""Runs model-written Python in a confined process.

What holds the program back, in layers; each is required, and where one is missing nothing is run:

- a fresh interpreter (`python -I -S`) with an empty environment, no open files, its own session and a temporary folder;
- resource limits: CPU seconds, memory, size of a file, open files, processes; a wall-clock limit from outside;
- Landlock (Linux 5.13): it writes below its folder only and reads nothing but that and the standard library; with newer
  kernels also no TCP and no signals to other processes;
- seccomp: an allow-list of system calls without sockets, new processes or threads, exec, ptrace, mounts, or changes of
  limits, owners and permissions. Everything else fails with EPERM.

What it is not: a virtual machine. A bug in the kernel's allowed calls, or a side channel, is not stopped. The program
can fill its folder for as long as it may run (each file is bounded, their number is not), and it can read the
interpreter's and the system's libraries. A program that sets out to deceive the verdict (by reading its caller's
frames) can; one that merely ends early, hangs or crashes does not pass. Programs that need threads, processes, sockets
or packages outside the standard library fail in it. It confines what language models write by accident; do not give it
what an attacker wrote.
"""

from __future__ import annotations

import json
import platform
import secrets
import signal
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

_CHILD = Path(__file__).with_name("sandbox_child.py")

# Run once: what must work in the sandbox works, and what it must hold back it does.
_SELF_TEST = """
import hashlib, math, os, random, re, socket

def held_back(what, attempt):
    try:
        attempt()
    except PermissionError:
        return
    raise RuntimeError(f"it does not hold back {what}")

assert not os.environ
hashlib.md5(b"").hexdigest()
with open("file", "w") as file:
    file.write("text")
held_back("sockets", socket.socket)
held_back("processes", os.fork)
held_back("writing outside its folder", lambda: open("../outside", "w"))
held_back("reading outside its folder", lambda: os.listdir(".."))
"""


@dataclass(frozen=True)
class Limits:
    """What a program may use."""

    wall_seconds: float = 30.0  # until it is killed; more than the CPU seconds: a busy machine is not its fault
    cpu_seconds: int = 10  # of processor time, whole seconds
    memory_bytes: int = 1 << 30  # of address space, the interpreter's own 30 MB included
    file_bytes: int = 1 << 20  # of each file that it writes
    open_files: int = 64  # at a time

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value <= 0:
                raise ValueError(f"sandbox limit {name} must be > 0, got {value}")


@dataclass(frozen=True)
class Run:
    """How a program ended: killed is by a limit or a crash, refused is not run, as this machine lacks a layer."""

    outcome: Literal["finished", "raised", "timeout", "killed", "refused"]
    detail: str = ""  # the exception, the signal or the missing layer


def run_python(program: str, limits: Limits = Limits()) -> Run:
    """Run a Python program confined as this module says, in a folder of its own, and tell how it ended."""
    missing = missing_layer()
    return Run("refused", missing) if missing else _run(program, limits)


@cache
def missing_layer() -> str:
    """Why nothing is run on this machine; empty where a self-test found every layer at work."""
    if not sys.platform.startswith("linux"):
        return f"the sandbox needs Linux (Landlock and seccomp), this is {sys.platform}"
    if platform.machine() != "x86_64":
        return f"the sandbox knows the system calls of x86_64 only, this is {platform.machine()}"
    tested = _run(_SELF_TEST, Limits())
    return "" if tested.outcome == "finished" else f"the sandbox failed its self-test: {tested.detail}"


def _run(program: str, limits: Limits) -> Run:
    # A token that the program cannot guess: what it prints itself is not a report.
    token = secrets.token_hex(16)
    with (
        tempfile.TemporaryDirectory(prefix="dftt-sandbox-", ignore_cleanup_errors=True) as folder,
        tempfile.TemporaryFile() as report,  # not a pipe: the limit on files bounds what is written to it
        subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", "-X", "utf8", str(_CHILD)],
            stdin=subprocess.PIPE,
            stdout=report,
            stderr=subprocess.DEVNULL,
            env={},
            cwd=folder,
            start_new_session=True,
        ) as process,
    ):
        order = {"token": token, "program": program, "folder": folder}
        order |= {"readable": _readable(), "limits": _rlimits(limits)}
        try:
            process.communicate(json.dumps(order).encode(), timeout=limits.wall_seconds)
        except subprocess.TimeoutExpired:
            return Run("timeout", f"stopped after {limits.wall_seconds:g} s")
        finally:
            process.kill()  # it could start no others
        report.seek(0)
        return _read_report(report.read().decode("utf-8", "replace"), token, process.returncode)


def _read_report(output: str, token: str, code: int) -> Run:
    last = output.rstrip("\n").rpartition("\n")[2]
    if not last.startswith(token):
        return Run("killed", signal.strsignal(-code) or f"signal {-code}" if code < 0 else f"exit code {code}")
    report = json.loads(last.removeprefix(token))
    if report["outcome"] == "unconfined":
        return Run("refused", f"the sandbox could not be set up: {report['detail']}")
    return Run(report["outcome"], report["detail"])


def _rlimits(limits: Limits) -> dict[str, int]:
    return {
        "RLIMIT_CPU": limits.cpu_seconds,
        "RLIMIT_AS": limits.memory_bytes,
        "RLIMIT_DATA": limits.memory_bytes,
        "RLIMIT_FSIZE": limits.file_bytes,
        "RLIMIT_NOFILE": limits.open_files,
        "RLIMIT_NPROC": 0,  # root is exempt from this one; seccomp holds it too
        "RLIMIT_CORE": 0,
    }


def _readable() -> list[str]:
    """The standard library and the shared libraries that its modules load."""
    library = {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), f"{sys.base_prefix}/lib"}
    system = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache"}
    return sorted(library | system | {"/dev/null", "/dev/urandom"})
