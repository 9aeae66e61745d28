from dftt.analysis.brief import brief, in_words
from dftt.types import Record
from dftt.types.arms import Arm

ARMS = [
    Arm("target"),
    Arm("speculative"),
    Arm("speculative", "wrong"),
    Arm("speculative", "own"),
    Arm("speculative", "own", drafting={"drafter": "hybrid"}),
    Arm("guided", alpha=0.3),
]
STUDY = {"texts": 16, "tokens": 900, "seconds": 9.0, "share_of_answer": 0.1}


def made(arm: Arm, committed: tuple[int, ...], *, tokens: tuple[int, ...] = (1, 2, 3)) -> Record:
    adaptation = {"steps": 60, "study": STUDY} if arm.ttt != "none" else {}
    return Record(
        "a/1", "a", arm.id, 0, "hash", "Goats.\nTwice.", tokens, committed, adaptation=adaptation, finish_reason="eos"
    )


def test_a_newcomer_reads_what_was_adapted_to_what() -> None:
    lengths = [(1, 1), (1, 2), (1, 1), (2, 3), (4, 2), (1, 1)]
    records = [made(arm, each) for arm, each in zip(ARMS, lengths, strict=True)]
    assert brief(records, ARMS).splitlines() == [
        "1 documents, 1 questions. Before it was asked, the target wrote 16 short texts about each document, and the "
        "draft learnt from these in 60 steps.",
        "",
        "Tokens for each pass of the target (tau); the text is the target's own all the same:",
        f"  {'the target alone':42}  1.00",
        f"  {'draft, not adapted':42}  1.50",
        f"  {'draft, adapted to another document':42}  1.00",
        f"  {'draft, adapted to the document':42}  2.50",
        f"  {'draft, adapted to the document, and lookup':42}  3.00",
        "  (4 of 4 answers are word for word those of the target alone)",
        "",
        "One answer, a/1:",
        "  Goats. Twice.",
    ]


def test_answers_that_differ_are_counted() -> None:
    records = [made(ARMS[0], (1,)), made(ARMS[1], (2,)), made(ARMS[3], (2,), tokens=(1, 2, 4))]
    assert "(1 of 2 answers are word for word those of the target alone)" in brief(records, ARMS)


def test_lookup_alone_is_no_draft() -> None:
    assert in_words(Arm(drafting={"drafter": "lookup"})) == "lookup in the text so far, no draft"
