from pathlib import Path

from dftt.judges.chat import ReplyCache, reply_key
from dftt.judges.grading import grading_prompt


def test_a_reply_is_found_again(tmp_path: Path) -> None:
    key = reply_key("judge", "v1", "prompt")
    ReplyCache(tmp_path / "new").put(key, "reply", "judge")
    assert ReplyCache(tmp_path / "new").get(key) == "reply"
    assert not list(tmp_path.rglob(".reply-*"))


def test_judge_version_rubrics_and_answer_each_change_the_key() -> None:
    def key(judge: str = "j", version: str = "v", rubric: str = "r", answer: str = "a") -> str:
        return reply_key(judge, version, grading_prompt([rubric], answer))

    assert len({key(), key(judge="k"), key(version="w"), key(rubric="s"), key(answer="b")}) == 5


def test_a_damaged_file_is_asked_again(tmp_path: Path) -> None:
    cache, key = ReplyCache(tmp_path), reply_key("j", "v", "p")
    cache.put(key, "reply", "j")
    for content in ("", '{"reply"', "[]", "{}"):
        next(tmp_path.rglob("*.json")).write_text(content)
        assert cache.get(key) is None
