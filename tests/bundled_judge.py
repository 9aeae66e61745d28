"""`python -m tests.bundled_judge PORT`: an OpenAI-compatible judge made of the bundled target.

A model of 135 million parameters rarely writes well-formed JSON, so that its frame is written for it; each "yes" or
"no" is the model's own choice, by its next-token logits.
"""

from __future__ import annotations

import json
import re
import sys
import threading

import torch

from dftt.judges.grading import OVERALL, RATIONALE, STATUSES
from dftt.models.pair import BUNDLED
from dftt.models.target import Target, encode
from tests.scripted_server import Response, scripted_endpoint


class YesNoJudge:
    """Replies to grading prompts."""

    def __init__(self) -> None:
        self.target = Target.load(BUNDLED)
        self.yes, self.no = (self.tokens(word)[0] for word in ("yes", "no"))
        self.turn = threading.Lock()

    def __call__(self, _number: int, prompt: str) -> Response:
        with self.turn, torch.no_grad():
            return Response(self.reply(prompt))

    def reply(self, prompt: str) -> str:
        found = re.search(r"a list of (\d+) strings", prompt)
        count = int(found[1]) if found else 0
        opening = f'{{"{RATIONALE}": "Checked one by one.", "{STATUSES}": ["'
        ids = encode(self.target.tokenizer, [{"role": "user", "content": prompt}]) + self.tokens(opening)
        statuses, cache = [], None
        for _ in range(count):
            out = self.target.model(torch.tensor([ids]), past_key_values=cache, use_cache=True, logits_to_keep=1)
            cache, logits = out.past_key_values, out.logits[0, -1]
            statuses.append("yes" if logits[self.yes] > logits[self.no] else "no")
            ids = self.tokens(f'{statuses[-1]}", "')
        overall = int(all(status == "yes" for status in statuses))
        return json.dumps({RATIONALE: "Checked one by one.", STATUSES: statuses, OVERALL: overall})

    def tokens(self, text: str) -> list[int]:
        return list(self.target.tokenizer(text, add_special_tokens=False).input_ids)


if __name__ == "__main__":
    with scripted_endpoint(YesNoJudge(), port=int(sys.argv[1])) as running:
        print(running.url, flush=True)
        threading.Event().wait()
