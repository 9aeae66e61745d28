"""Studies: what is compared on equal prompts, and what that costs."""

from dftt.study.arms import Arm
from dftt.study.checks import check_arms

__all__ = ["Arm", "check_arms"]
