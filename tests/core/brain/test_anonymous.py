"""Lines to teach from: nobody's name, number or address is left, and what the line asks for is."""

import pytest

from core.brain.anonymous import LINE_CHARS_MAX, anonymous


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Send 500 to Otieno Kamau's number 0722 123 456", "Send 500 to Amina's number 0712 345 678"),
        ("tuma kwa wanjiku 2,500 na +254722000111", "tuma kwa Amina 2,500 na +254712345678"),
        ("Remind me on Monday to email john.doe@gmail.com", "Remind me on Monday to email amina@example.com"),
        ("where is my QK12AB34CD?", "where is my AB71CD23EF?"),
        ("flight from Nairobi to New York for Mary Wambui", "flight from Nairobi to New York for Amina"),
        ("my ID is 12345678\nand see https://x.y/z?k=1", "my ID is 71234567 and see https://example.com"),
        ("I paid KES 15,000 on 12/11/2026, 2026-11-12 at 9:30", "I paid KES 15,000 on 12/11/2026, 2026-11-12 at 9:30"),
        ("weather in Dar es Salaam", "weather in Dar es Salaam"),
        ("amina", "Amina"),
    ],
)
def test_others_stand_for_who_is_meant(text: str, line: str) -> None:
    assert anonymous(text, ["Wanjiku M.", "Amina"]) == line


@pytest.mark.parametrize("text", ["", "\0\n", "x" * 20_000, "Ab " * 9_000, "+" * 5_000, "1 " * 9_000, "ﷺ" * 2_000])
def test_any_text_is_one_line_of_a_few_words(text: str) -> None:
    line = anonymous(text, ["", "x"])
    assert len(line) <= LINE_CHARS_MAX
    assert line.isprintable()
