"""Text and spans grow together: whatever is written, each span still covers its phrase."""

from functools import partial

from hypothesis import given
from hypothesis import strategies as st

from segue.data.language.grounded_text import GroundedText

Pieces = list[tuple[str, bool]]
pieces = st.lists(st.tuples(st.text("abc ,.", min_size=1, max_size=4), st.booleans()), max_size=8)


def written(parts: Pieces) -> GroundedText[str]:
    text = GroundedText[str]()
    for number, (words, grounded) in enumerate(parts):
        if grounded:
            text.ground(words, number, words)
        else:
            text.say(words)
    return text


@given(pieces, pieces)
def test_spans_cover_their_phrases_wherever_texts_are_joined(head: Pieces, tail: Pieces) -> None:
    text = written(head).sentence().extend(written(tail)).capitalize()
    said = "".join(words for words, _ in head)
    said += (" " if said else "") + "".join(words for words, _ in tail)
    assert text.text == said[:1].upper() + said[1:]
    assert [span.payload for span in text.spans] == [words for words, grounded in head + tail if grounded]
    for span in text.spans:
        assert said[span.start : span.end] == span.payload


def test_a_list_is_joined_as_english_does() -> None:
    def listed(count: int, **options: bool) -> str:
        text = GroundedText[int]("I see ")
        text.join([partial(text.ground, f"x{k}", 0, k) for k in range(count)], **options)
        assert [text.text[s.start : s.end] for s in text.spans] == [f"x{k}" for k in range(count)]
        return text.text

    assert [listed(n) for n in range(4)] == ["I see ", "I see x0", "I see x0 and x1", "I see x0, x1 and x2"]
    assert listed(2, comma_before_and=True) == "I see x0 and x1"
    assert listed(3, comma_before_and=True) == "I see x0, x1, and x2"
