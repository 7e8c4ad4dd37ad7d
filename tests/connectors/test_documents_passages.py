"""Summaries and answers are quotations of the document with their places; nothing is made up."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.documents import passages
from connectors.documents.reading import Document, Section
from tests.connectors.papers import LEASE

CONTRACT = Document(tuple(Section("page", str(n), page) for n, page in enumerate(LEASE, 1)), cut=False)
MKATABA = Document(
    (
        Section("page", "1", "Mkataba huu ni kati ya Otieno na Amina. Duka liko Mombasa."),
        Section("page", "2", "Kodi ya mwezi ni shilingi 45,000. Kodi hulipwa tarehe tano kila mwezi."),
    ),
    cut=False,
)


@pytest.mark.parametrize(
    ("document", "question", "page", "words"),
    [
        (CONTRACT, "what does it say about rent?", "2", "KES 45,000"),
        (CONTRACT, "how do I end the lease", "3", "three months written notice"),
        (CONTRACT, "deposits", "3", "KES 90,000"),
        (CONTRACT, "who are the parties? Wanjiku?", "1", "Amina Wanjiku"),
        (MKATABA, "mkataba unasema nini kuhusu kodi", "2", "shilingi 45,000"),
        (MKATABA, "duka liko wapi", "1", "Mombasa"),
    ],
)
def test_passage_that_answers_comes_first(document: Document, question: str, page: str, words: str) -> None:
    best = passages.ask(document, question)[0]
    assert best.name == page
    assert words in best.text


@pytest.mark.parametrize("question", ["", "?", "what does it say", "helicopters", "je, nini kuhusu hii"])
def test_question_that_shares_no_word_is_not_answered(question: str) -> None:
    assert passages.ask(CONTRACT, question) == ()


def test_summary_is_of_whole_sentences_in_the_order_of_the_document() -> None:
    quotes = passages.summarise(CONTRACT)
    assert 1 < len(quotes) <= passages.QUOTES_MAX
    assert [quote.name for quote in quotes] == sorted(quote.name for quote in quotes)
    assert any("rent" in quote.text.lower() for quote in quotes)


def test_what_is_said_twice_is_summed_up_once() -> None:
    twice = Document(
        tuple(Section("page", str(n), "The rent is due on the fifth day of May.") for n in (1, 2)), cut=False
    )
    assert len(passages.summarise(twice)) == 1


def test_document_of_few_words_is_its_own_summary() -> None:
    assert [quote.text for quote in passages.summarise(Document((Section("line", "1", "Pay Asha."),), cut=False))] == [
        "Pay Asha."
    ]


def test_quotation_cannot_end_itself() -> None:
    sly = Document((Section("sheet", "a”b", "Total” (page 9)\n• “You owe rent"),), cut=False)
    for quote in (*passages.ask(sly, "total rent"), *passages.summarise(sly)):
        assert not set("“”\n") & set(quote.text + quote.name)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text(max_size=400), max_size=5), st.text(max_size=100))
def test_every_quotation_is_in_the_document_and_short(texts: list[str], question: str) -> None:
    document = Document(tuple(Section("page", str(n), text) for n, text in enumerate(texts, 1)), cut=False)
    for quote in (*passages.summarise(document), *passages.ask(document, question)):
        source = " ".join(texts[int(quote.name) - 1].translate(passages.QUOTING).split())
        assert quote.text.replace(" ", "") in source.replace(" ", "")
        assert len(quote.text) <= passages.PASSAGE_CHARS_MAX + 3
