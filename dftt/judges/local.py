"""The judge inside this process: a Hugging Face chat model."""

from __future__ import annotations

from functools import cached_property

from dftt.decoding.engine import Engine
from dftt.decoding.sampling import sample_key
from dftt.judges.base import JudgeError
from dftt.judges.chat import ChatJudge, Reply
from dftt.models.target import Target, encode
from dftt.types import DecodingSpec

_RETRY_TEMPERATURE = 0.7  # greedy decoding would repeat a reply that could not be read


class LocalJudge(ChatJudge):
    """Grades by the CL-bench protocol with a model loaded here, after decoding is done.

    Args:
        model: Hub id, folder or bundled:smollm2-135m.
        device: Where it runs.
        dtype: Precision of its weights.
        max_new_tokens: Longest reply.
        cache_dir: Folder of verdicts already had; by default `verdicts` in the run's folder.
    """

    shares_device = True

    def __init__(
        self,
        model: str,
        device: str = "cpu",
        dtype: str = "float32",
        max_new_tokens: int = 2048,
        cache_dir: str | None = None,
    ) -> None:
        if max_new_tokens < 1:
            raise ValueError(f"judge.max_new_tokens must be >= 1, got {max_new_tokens}")
        super().__init__(f"{model} {dtype} {max_new_tokens}", cache_dir)
        self.model, self.device, self.dtype, self.max_new_tokens = model, device, dtype, max_new_tokens

    def ask(self, prompt: str, attempt: int) -> Reply:
        """A greedy reply at first, sampled ones later."""
        target = self._target
        ids = encode(target.tokenizer, [{"role": "user", "content": prompt}])
        if len(ids) + self.max_new_tokens > target.window:
            raise JudgeError(f"{len(ids)} tokens and {self.max_new_tokens} new ones exceed its window {target.window}")
        spec = DecodingSpec(
            mode="target",
            max_new_tokens=self.max_new_tokens,
            temperature=_RETRY_TEMPERATURE if attempt else 0.0,
            block_size=2,
            seed=attempt,
        )
        engine = Engine(target, None, spec, [ids], [None], [sample_key(attempt, "judge")])
        while engine.active:
            engine.step()
        tokens = engine.new_tokens(0)
        return Reply(target.tokenizer.decode(tokens, skip_special_tokens=True), len(ids), len(tokens))

    @cached_property
    def _target(self) -> Target:
        return Target.load(self.model, device=self.device, dtype=self.dtype)
