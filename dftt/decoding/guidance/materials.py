"""What some rules of guidance need besides the pair."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dftt.models.lora import Adapter
from dftt.models.target import Target
from dftt.types import Prompt


@dataclass(frozen=True)
class Materials:
    """Given to `generate` beside the pair; each rule takes what it names.

    Args:
        adapters: Adapters by the name of their source: "other", "generic".
        without_context: The question alone, one prompt per row; its last token is that of the row's own prompt.
        amateur: A smaller model with the target's vocabulary.
    """

    adapters: Mapping[str, Adapter] = field(default_factory=dict)
    without_context: Sequence[Prompt] = ()
    amateur: Target | None = None
