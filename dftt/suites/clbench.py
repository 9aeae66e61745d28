"""CL-bench: learning from a context; rubrics for a judge. Evaluation only, see licence.py."""

from __future__ import annotations

from typing import ClassVar

from dftt.suites.base import Suite
from dftt.suites.licence import CLBENCH


class CLBench(Suite):
    """Rows hold `messages` (earlier turns and their answers included), `rubrics` and `metadata`.

    Tasks with the same `context_id` share a context; a row without one is a context of its own. The rubrics are for a
    judge, so a program leaves the answers unscored.
    """

    name = CLBENCH
    hub_id = "tencent/CL-bench"
    hub_split = "train"  # the only one, so called by `datasets`
    homepage = "https://www.clbench.com"
    licence = "CL-bench data card: evaluation, testing and benchmarking only; no training or parameter updates"
    citation = "CL-bench: A Benchmark for Context Learning, 2026, arXiv:2602.03587"
    category_keys = ("context_category", "sub_category")
    categories: ClassVar = {
        "Domain Knowledge Reasoning": (
            "Finance",
            "Healthcare",
            "Humanities",
            "Legal Advisory",
            "Lifestyle",
            "Management",
            "Science",
        ),
        "Rule System Application": (
            "Game Mechanics",
            "Legal & Regulatory",
            "Mathematical Formalism",
            "Programming Syntax",
            "Technical Standards",
        ),
        "Procedural Task Execution": (
            "Instructional Procedures",
            "Operational Procedures",
            "Workflow Orchestration",
        ),
        "Empirical Discovery & Simulation": (
            "Experimental Data",
            "Observational Data",
            "Simulation Environment",
        ),
    }
