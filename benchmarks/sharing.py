"""What one study of many arms costs, against a study of each arm by itself, on the bundled pair.

python -m benchmarks.sharing --tokens 16 --steps 20
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import lightning as L
import torch

from dftt.data import ContextDataModule
from dftt.evaluator import GuidedDecodingEvaluator
from dftt.module import DraftTTTModule
from dftt.study import Arm
from dftt.types import DecodingSpec, TTTSpec

ALPHAS = (0.1, 0.2, 0.3, 0.5, 0.7, 1.0, -0.3, -0.5, -1.0)
ARMS = (Arm("speculative", "own"), *(Arm("guided", "own", alpha) for alpha in ALPHAS))


def main(arguments: Sequence[str] | None = None) -> dict[str, float]:
    """Time both ways in one process, the pair loaded before, and print the share."""
    parser = argparse.ArgumentParser(description="Ten arms on one context: one study against ten.")
    parser.add_argument("--tokens", type=int, default=16, help="new tokens of an answer")
    parser.add_argument("--steps", type=int, default=20, help="steps of test-time training")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="threads of torch")
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    module = DraftTTTModule(ttt=TTTSpec(steps=options.steps))
    study(module, ARMS[:1], tokens=1)  # loads the pair and warms up
    begun = time.perf_counter()
    study(module, ARMS, tokens=options.tokens)
    together = time.perf_counter() - begun
    begun = time.perf_counter()
    for arm in ARMS:
        study(module, [arm], tokens=options.tokens)
    separate = time.perf_counter() - begun
    result = {"arms": len(ARMS), "together": together, "separate": separate, "share": together / separate}
    print(json.dumps(result))
    return result


def study(module: DraftTTTModule, arms: Sequence[Arm], *, tokens: int) -> None:
    """A study of one context and one task, in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder, redirect_stdout(StringIO()):
        spec = DecodingSpec(max_new_tokens=tokens, ignore_eos=True)
        evaluator = GuidedDecodingEvaluator(list(arms), decoding=spec, baseline=arms[0].id, run_dir=folder)
        trainer = L.Trainer(
            accelerator="cpu",
            inference_mode=False,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            default_root_dir=Path(folder),
            callbacks=[evaluator],
        )
        trainer.test(module, ContextDataModule(max_contexts=1, max_tasks=1), verbose=False)


if __name__ == "__main__":
    main()
