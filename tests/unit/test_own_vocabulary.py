"""An embedding or a head that comes with a draft, beside the target's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dftt.models.checkpoint import load_draft
from dftt.models.pair import Pair, load_pair
from tests.fakes import VOCAB, tiny_draft_dir

Beside = Callable[[dict[str, Tensor]], Path]


@pytest.fixture
def beside(tmp_path: Path) -> Beside:
    """A draft's folder with more tensors."""
    folder = tiny_draft_dir(tmp_path)

    def write(more: dict[str, Tensor]) -> Path:
        save_file(load_file(folder / "model.safetensors") | more, folder / "model.safetensors")
        return folder

    return write


@pytest.fixture
def embedding(tiny_pair: Callable[..., Pair]) -> Tensor:
    """The tiny target's, which is its head too."""
    return tiny_pair("qwen3").target.model.get_input_embeddings().weight.detach().clone()


NAMES = pytest.mark.parametrize("name", ["embed_tokens.weight", "lm_head.weight"])


@NAMES
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_an_own_copy_of_the_targets_is_fine(tiny_target, beside: Beside, embedding: Tensor, name: str, dtype) -> None:
    """Also one that was rounded when the draft was saved."""
    pair = load_pair(tiny_target("qwen3"), beside({name: embedding.to(dtype)}))
    assert not pair.draft.own_vocabulary
    assert name not in pair.draft.state_dict()


@NAMES
def test_an_own_one_that_differs_is_refused(tiny_target, beside: Beside, embedding: Tensor, name: str) -> None:
    """It was dropped unseen, and the target's used instead."""
    embedding[5, 3] += 0.01
    with pytest.raises(ValueError, match=f"brings an own {name} .* that differs from the one of") as caught:
        load_pair(tiny_target("qwen3"), beside({name: embedding}))
    assert "\n" not in str(caught.value)


@NAMES
def test_an_own_one_of_another_size_is_refused(tiny_target, beside: Beside, name: str) -> None:
    with pytest.raises(ValueError, match=rf"own {name} \(100, 32\) that differs from the one of .* \(288, 32\)"):
        load_pair(tiny_target("qwen3"), beside({name: torch.zeros(100, 32)}))


def test_maps_of_the_whole_vocabulary_change_nothing(tiny_target, beside: Beside) -> None:
    maps = {"t2d": torch.ones(VOCAB, dtype=torch.bool), "d2t": torch.zeros(VOCAB, dtype=torch.long)}
    assert load_pair(tiny_target("qwen3"), beside(maps)).draft.config.vocab_size == VOCAB


@pytest.mark.parametrize(
    ("maps", "message"),
    [
        ({"t2d": torch.arange(VOCAB) > 9}, "t2d leaves out 10 of the target's 288 tokens"),
        ({"d2t": torch.arange(VOCAB)}, "d2t gives the draft's tokens other ids"),
    ],
)
def test_maps_to_another_vocabulary_are_refused(beside: Beside, maps: dict[str, Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_draft(beside(maps))


def test_a_layer_count_that_was_not_said_fits_any_target(tiny_target, tmp_path: Path) -> None:
    """The guess, last tap + 1, was held against the target."""
    pair = load_pair(tiny_target("qwen3"), tiny_draft_dir(tmp_path, taps=(1, 2), num_target_layers=None))
    assert pair.draft.config.num_target_layers is None
    assert pair.target.num_layers == 4
