"""The lines the classifier of the local brain learns from."""

from collections import Counter
from pathlib import Path

import pytest

from core.brain import words
from core.brain.not_here import ACTIONS

FOLDER = Path(words.__file__).parent / "utterances"
FILES = sorted(FOLDER.glob("*.txt"))

LINES_MIN = 90
LINE_CHARS_MAX = 300


def lines_of(file: Path) -> list[str]:
    """Its messages, as the classifier takes them: casefolded, without the comments."""
    text = file.read_bytes().decode()
    return [line.casefold().strip() for line in text.splitlines() if not line.startswith("#")]


def test_there_are_files() -> None:
    assert FILES


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_holds_lines_enough_for_a_known_action(file: Path) -> None:
    known = {"help", "smalltalk", "none", *ACTIONS}
    assert file.stem in known

    lines = lines_of(file)
    assert len(lines) >= LINES_MIN
    assert all(lines), "a blank line"
    assert max(map(len, lines)) <= LINE_CHARS_MAX


def test_no_line_is_written_twice() -> None:
    written = Counter(line for file in FILES for line in lines_of(file))
    assert [line for line, times in written.items() if times > 1] == []
