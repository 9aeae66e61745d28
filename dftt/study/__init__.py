"""Studies: what is compared on equal prompts, and what that costs."""

from dftt.study.checks import check_arms
from dftt.types.arms import Arm

__all__ = ["Arm", "check_arms"]
