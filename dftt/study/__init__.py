"""Studies: what is compared on equal prompts, and what that costs."""

from dftt.study.arms import Arm, check_arms

__all__ = ["Arm", "check_arms"]
