"""The classifier: its weights are those of the lines in the tree, training repeats itself, bad files are refused."""

import pytest

from core.brain import classify, train
from core.brain.track import GUESS_MIN
from core.brain.words import said


def test_the_weights_are_trained_from_these_lines_and_features() -> None:
    assert classify.model().lines == train.digest(train.load(train.UTTERANCES)), "run `python3 -m bot train`"


def test_training_gives_the_same_bytes_again(capsys: pytest.CaptureFixture[str]) -> None:
    lines = [line for line in train.load(train.UTTERANCES) if line[1] in ("undo", "help", "search_gif")]
    assert train.train(lines, ["help", "search_gif", "undo"]) == train.train(lines, ["help", "search_gif", "undo"])


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("tafuta basi ya kwenda Kitale kesho", "search_buses"),
        ("is there any money left in my account", "check_balance"),
        ("get us seats on a plane to Arusha", "search_flights"),
        ("what is on my diary on Friday", "check_availability"),
        ("pesa zangu ziko ngapi", "check_balance"), ("mail the accountant about the taxes", "send_email"),
        ("whenever it rains tell me in the morning", "create_workflow"), ("the goats are in the garden", "none"),
        ("turn the lights off in the kitchen", "none"), ("niaje bro", "smalltalk"),
    ],
)  # fmt: skip
def test_new_lines_are_told_apart(text: str, action: str) -> None:
    best = classify.model().guess(said(text))[0]
    assert (best.action if best.probability >= GUESS_MIN else "none") == action


def test_probabilities_add_up() -> None:
    assert sum(guess.probability for guess in classify.model().guess(said("hello there"))) == pytest.approx(1)


@pytest.mark.parametrize("data", [b"", b"MTHB", classify.WEIGHTS.read_bytes()[:5000], b"X" * 64])
def test_a_file_that_is_no_weights_is_refused(data: bytes) -> None:
    with pytest.raises(classify.BadWeights, match="bot train"):
        classify.read(data)
