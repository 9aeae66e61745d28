"""The page's table of published drafts: each family works as a plain forward says, or is refused by that sentence."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from dftt.models.checkpoint import load_draft
from dftt.models.draft import DFlashDraft, GradContext
from dftt.models.draft_config import parse_config
from tests.plain_draft import plain_hidden
from tests.published_drafts import FAMILIES, tiny

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "drafts.md"
TOLERANCE = 1e-5
WINDOW = 6
GATES = {"gelu_pytorch_tanh": lambda gate: torch.nn.functional.gelu(gate, approximate="tanh")}


def row(family: str) -> str:
    """The line of the table."""
    keys, config, rule = FAMILIES[family]
    if rule is not None:
        return f"| {family} | {keys} | works, to {TOLERANCE:g} |"
    with pytest.raises(ValueError, match="draft: ") as caught:
        parse_config(config)
    return f"| {family} | {keys} | refused: {str(caught.value).removeprefix('draft: ')} |"


@pytest.mark.parametrize("family", FAMILIES)
def test_the_pages_table_says_what_a_family_does(family: str) -> None:
    assert row(family) in PAGE.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("family", [name for name, (_, _, rule) in FAMILIES.items() if rule is not None])
def test_families_compute_what_a_plain_forward_does(tmp_path: Path, family: str) -> None:
    _, config, given = FAMILIES[family]
    config = tiny(config, window=WINDOW)
    torch.manual_seed(5)
    drawn = DFlashDraft(parse_config(config))
    drawn.reset_parameters(0.3)
    save_file(drawn.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    draft = load_draft(tmp_path, dtype=torch.float64)
    features, embeddings = torch.randn(20, 96).double(), torch.randn(4, 32).double()
    rule = dict(given or {})
    rule["windows"] = [WINDOW if letter == "w" else None for letter in rule["windows"]]
    if "activation" in rule:
        rule["activation"] = GATES[rule["activation"]]
    expected = plain_hidden(draft.state_dict(), features, embeddings, eps=draft.config.rms_norm_eps, **rule)
    context = GradContext(draft.read_context(features[None], torch.arange(20)[None]))
    masks = draft.block_masks(torch.tensor([[20]]), context_slots=20)
    with torch.no_grad():
        got = draft(embeddings[None], torch.arange(20, 24)[None], context, masks)[0]
    torch.testing.assert_close(got, expected, atol=TOLERANCE, rtol=0)
