"""Speed of the bundled pair alone and beside busy processes, under several ways in which threads wait for each other.

    python -m benchmarks.busy --out results/busy

OpenMP reads its settings when torch is imported, so each measurement is a process of its own. Needs a machine that is
idle otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from benchmarks.report import Report, common_arguments, finish, use_threads
from dftt.command import command_line
from dftt.decoding.generate import generate
from dftt.models.pair import BUNDLED, load_pair
from dftt.types import DecodingSpec, Mode, Prompt

# What a user's own environment would say; an empty policy leaves the choice to OpenMP.
SETTINGS: dict[str, dict[str, str]] = {
    "as dftt sets it": {},
    "OpenMP's own": {"OMP_WAIT_POLICY": ""},
    "sleep at once": {"OMP_WAIT_POLICY": "PASSIVE"},
    "sleep after 1,000 turns": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "1000"},
    "sleep after 10,000 turns": {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "10000"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
_MODES: tuple[Mode, ...] = ("target", "speculative")
_VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options."""
    parser = common_arguments("Speed on a CPU alone and beside busy processes, by the way in which threads wait.")
    parser.add_argument("--busy", type=int, default=1, help="busy processes beside the measured one")
    parser.add_argument("--context", type=int, default=256, help="tokens of the prompt")
    parser.add_argument("--new-tokens", type=int, default=32, help="tokens decoded in each mode")
    parser.add_argument("--rounds", type=int, default=3, help="processes of each setting, settings in turns")
    parser.add_argument("--settings", nargs="+", choices=list(SETTINGS), default=list(SETTINGS), metavar="SETTING")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(device="cpu")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> Report | None:
    """Measure every setting alone and beside busy processes, in turns; or, in a process of one setting, that one."""
    options = parse(arguments)
    with command_line():  # stopped, it takes its busy processes along
        if not options.measure:
            return compare(options)
        print(json.dumps(measure(options)))
    return None


def compare(options: argparse.Namespace) -> Report:
    """The report of every setting, alone and beside busy processes, in turns."""
    rates: dict[tuple[str, bool, str], list[float]] = {}
    for _ in range(options.rounds):
        for setting in options.settings:
            for beside in (False, True):
                with busy_processes(options.busy if beside else 0):
                    for mode, rate in in_a_process(options, SETTINGS[setting]).items():
                        rates.setdefault((setting, beside, mode), []).append(rate)
    rows = []
    for setting in options.settings:
        for mode in _MODES:
            alone, beside = (statistics.median(rates[setting, each, mode]) for each in (False, True))
            rows.append(
                {"setting": setting, "mode": mode, "alone, tokens/s": alone, "busy, tokens/s": beside}
                | {"busy over alone": beside / alone}
            )
    described = {"pair": f"{BUNDLED} and its draft", "busy processes": options.busy, "context": options.context}
    return finish(
        Report(
            "Speed beside busy processes",
            {**described, "new tokens": options.new_tokens, "processors": os.cpu_count(), "rounds": options.rounds},
            rows,
            ["Medians over processes, decoding only."],
        ),
        options,
    )


def measure(options: argparse.Namespace) -> dict[str, float]:
    """Tokens a second of each mode in this process, after one untimed answer."""
    use_threads(options)
    pair = load_pair()
    generator = torch.Generator().manual_seed(0)
    prompt = Prompt(tuple(torch.randint(0, pair.target.vocab_size, (options.context,), generator=generator).tolist()))
    prefill = pair.prefill(prompt)
    found = {}
    for mode in _MODES:
        spec = DecodingSpec(mode=mode, max_new_tokens=options.new_tokens, ignore_eos=True)
        generate(pair, prompt, DecodingSpec(mode=mode, max_new_tokens=2, ignore_eos=True), prefill=prefill)
        made = generate(pair, prompt, spec, prefill=prefill)
        found[mode] = len(made.token_ids) / made.seconds
    return found


def in_a_process(options: argparse.Namespace, variables: dict[str, str]) -> dict[str, float]:
    """What `measure` finds in a new process with these variables."""
    call = [sys.executable, "-m", "benchmarks.busy", "--measure", "--threads", str(options.threads)]
    call += ["--context", str(options.context), "--new-tokens", str(options.new_tokens)]
    environment = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    done = subprocess.run(call, env={**environment, **variables}, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


@contextmanager
def busy_processes(count: int) -> Iterator[None]:
    """So many processes that keep a processor busy each."""
    started = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in started:
            process.kill()
            process.wait()


if __name__ == "__main__":
    main()
