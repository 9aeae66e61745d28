from types import SimpleNamespace as Config
from typing import Any, cast

import pytest
import torch

from dftt.models.families import fix_frequencies_, rope_limit
from tests.families import tiny_model

NTK = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
LONG = {"rope_type": "longrope", "original_max_position_embeddings": 40}


@pytest.mark.parametrize(
    ("settings", "limit"),
    [
        (None, None),
        ({"rope_type": "yarn", "original_max_position_embeddings": 40}, None),
        (NTK, None),  # changes behind the window only
        (LONG, 40),
        ({"full_attention": LONG, "sliding_attention": {"rope_type": "default"}}, 40),
    ],
)
def test_the_limit_is_where_frequencies_change_within_the_window(settings: dict | None, limit: int | None) -> None:
    assert rope_limit(Config(rope_parameters=settings)) == limit


def test_fixed_frequencies_do_not_follow_the_longest_position() -> None:
    rotary = cast(Any, tiny_model("llama", rope_parameters=NTK, max_position_embeddings=32)).model.rotary_emb
    states, near, far = torch.zeros(1, 1), torch.arange(8)[None], torch.tensor([[0, 1, 2, 3, 4, 5, 6, 99]])
    before = rotary(states, near)[0][:, :7]
    assert not torch.equal(rotary(states, far)[0][:, :7], before)
    rotary(states, near)
    fix_frequencies_(rotary)
    assert torch.equal(rotary(states, far)[0][:, :7], before)
