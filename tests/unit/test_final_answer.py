import pytest

from dftt.scoring.final_answer import final_answer


@pytest.mark.parametrize(
    ("text", "final"),
    [
        (" plain ", "plain"),
        ("<think>maybe 4</think>\n5", "5"),
        ("<think>a</think>x<think>b</think> y", "x y"),
        ("opened by the template</think> 5", "5"),
        ("<think>never ended, 5", ""),
        ("<Thinking>\nlong\n</Thinking>5", "5"),
        ("I think <b>5</b>", "I think <b>5</b>"),
        ("", ""),
    ],
)
def test_only_what_follows_the_thinking_is_kept(text: str, final: str) -> None:
    assert final_answer(text) == final
