"""What all command lines of the package do alike: any text is shown, libraries are quiet, and every end is clean.

DFTT_DEBUG=1 shows tracebacks of bad input and all that libraries say; so does Python's own `-W` for warnings.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from typing import NoReturn

from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
from transformers.utils import logging as transformers_logging

from dftt.types.inputs import bad_input_behind

_CHATTY = ("lightning.pytorch", "lightning.fabric")  # what they say at level INFO: devices that are not used, products
_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedBySignal(BaseException):
    """Raised wherever the main thread is when SIGINT or SIGTERM comes.

    Args:
        number: The signal.
    """

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        self.what_remains = ""  # said after the end: whoever catches this on its way may know how to resume
        super().__init__(self.signal.name)

    @property
    def exit_code(self) -> int:
        """128 and the signal's number, as shells count."""
        return 128 + self.signal


@contextmanager
def command_line(*, unasked: Sequence[str] = ()) -> Iterator[None]:
    """Runs what is inside as a command.

    Bad input and what the machine refuses (files, disks, connections) end it with one sentence and code 2, SIGINT with
    130, SIGTERM with 143, a closed pipe with 141. Everything else is a mistake of ours and keeps its traceback.

    Args:
        unasked: Beginnings, as patterns, of warnings of libraries that mean nothing here.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")  # what its encoding lacks, instead of failing
    try:
        with _quiet_libraries(unasked), _stopped_by_signals():
            yield
            sys.stdout.flush()
    except StoppedBySignal as stop:
        print(f"stopped by {stop.signal.name}. {stop.what_remains}".rstrip(), file=sys.stderr)
        _leave(stop.exit_code)
    except BrokenPipeError:
        _drop_output()
        _leave(128 + signal.SIGPIPE)
    except OSError as error:
        said = error.strerror or str(error).partition("\n")[0] or type(error).__name__
        where = f"{error.filename}: " if error.filename is not None else ""
        _refuse(error, f"{where}{said} ({type(error).__name__}; DFTT_DEBUG=1 shows where)")
    except ValueError as error:
        if (bad_input := bad_input_behind(error)) is None:
            raise
        _refuse(error, str(bad_input))


def stop_on_signals() -> None:
    """Let SIGINT and SIGTERM raise StoppedBySignal in the main thread; a signal that is ignored stays so."""
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, _stop)


def _stop(number: int, _frame: object) -> NoReturn:
    # Launchers send the same signal twice: to the process and to its group. The second must not cut the end short.
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise StoppedBySignal(number)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    stop_on_signals()
    try:
        yield
    except StoppedBySignal:
        before.clear()  # signals stay ignored until the process has ended
        raise
    finally:
        if threading.current_thread() is threading.main_thread():
            for number, handler in before.items():
                signal.signal(number, handler)


@contextmanager
def _quiet_libraries(unasked: Sequence[str]) -> Iterator[None]:
    """Hides what users can do nothing about: deprecations inside libraries, notes, progress bars of loading."""
    if _debugging() or sys.warnoptions:
        yield
        return
    loggers = {logging.getLogger(name): logging.getLogger(name).level for name in _CHATTY}
    showed_bars, hub_showed_bars = transformers_logging.is_progress_bar_enabled(), not are_progress_bars_disabled()
    with warnings.catch_warnings():
        for category in _DEPRECATIONS:
            warnings.filterwarnings("ignore", category=category)
        for beginning in unasked:
            warnings.filterwarnings("ignore", beginning)
        warnings.filterwarnings("default", module=r"dftt(\.|$)")
        for each in loggers:
            each.setLevel(logging.WARNING)
        transformers_logging.disable_progress_bar()
        if hub_showed_bars:
            enable_progress_bars()  # a download takes long: it is shown
        try:
            yield
        finally:
            for each, level in loggers.items():
                each.setLevel(level)
            if showed_bars:
                transformers_logging.enable_progress_bar()


def _debugging() -> bool:
    return os.environ.get("DFTT_DEBUG", "0") not in ("", "0")


def _refuse(error: Exception, sentence: str) -> NoReturn:
    if _debugging():
        raise error
    print("error:", sentence, file=sys.stderr)
    _drop_output_that_fails()
    sys.exit(2)


def _drop_output_that_fails() -> None:
    """Python would try stdout once more at its end, and say so."""
    try:
        sys.stdout.flush()
    except OSError:
        _drop_output()


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _leave(code: int) -> NoReturn:
    """End now: threads that wait for a judge must not hold up the end."""
    others = [each for each in threading.enumerate() if each is not threading.main_thread() and not each.daemon]
    if not others:
        sys.exit(code)
    sys.stderr.flush()
    _drop_output_that_fails()
    os._exit(code)
