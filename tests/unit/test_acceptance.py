import pytest
import torch

from dftt.decoding.sampling import count_accepted


@pytest.mark.parametrize(
    ("proposed", "drawn", "accepted"),
    [
        ([1, 2, 3], [1, 2, 3, 9], 3),
        ([1, 2, 3], [1, 2, 4, 9], 2),
        ([1, 2, 3], [9, 2, 3, 9], 0),
        ([1, 2, 3], [1, 9, 3, 9], 1),
        ([1, 2, 3], [9, 1, 2, 3], 0),
        ([], [5], 0),
    ],
    ids=["all", "all but one", "first wrong", "a later match does not count", "shifted", "nothing proposed"],
)
def test_the_longest_matching_prefix_is_kept(proposed: list[int], drawn: list[int], accepted: int) -> None:
    proposals = torch.tensor([proposed], dtype=torch.long)
    assert count_accepted(proposals, torch.tensor([drawn])).tolist() == [accepted]


def test_rows_are_counted_alone() -> None:
    proposed = torch.tensor([[1, 2], [1, 2], [1, 2]])
    drawn = torch.tensor([[1, 2, 0], [0, 2, 0], [1, 0, 0]])
    assert count_accepted(proposed, drawn).tolist() == [2, 0, 1]
