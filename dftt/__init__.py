"""Draft-guided test-time training: adapt a speculative-decoding draft to a context, let it steer the frozen target."""

import os

# Before torch is imported, whose threads read it once. By default they wait for each other in busy loops: alone that is
# as fast, but beside one busy process on two cores a pass takes several times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from dftt.adaptation.ttt import ttt_adapt
from dftt.decoding.generate import generate, guided_generate
from dftt.decoding.guidance.sources import Materials
from dftt.former_names import keep_former_names
from dftt.models.lora import Adaptation, Adapter, merge
from dftt.models.pair import Pair, load_pair
from dftt.types import DecodingSpec, Generation, GuidanceSpec, Prefill, Prompt, TTTSpec

__all__ = [
    "Adaptation",
    "Adapter",
    "DecodingSpec",
    "Generation",
    "GuidanceSpec",
    "Materials",
    "Pair",
    "Prefill",
    "Prompt",
    "TTTSpec",
    "generate",
    "guided_generate",
    "load_pair",
    "merge",
    "ttt_adapt",
]
__version__ = "0.1.0"

keep_former_names()
