"""The filters: a table of tricky answers, and what can never pass whatever a generator writes."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m4seg_images import VOCABULARY, kitchen, lexicon, living_room, stored, three_rooms, two_rooms
from segue.datasets.m4seg.filters import FILTERS, MAX_MASKS, QAPair, judge
from segue.datasets.m4seg.listing import Listing, list_images

QUESTION = "How do the seats of the two rooms differ?"
LEXICON = lexicon()

# Answer to two_rooms(), the filter that rejects it ("" keeps it), and the codes of a kept one.
# Image 1: chair 101 (leg 10101, seat 10102), chair 102 (leg 10201), cat 103 (head 10301, tail 10302).
# Image 2: dining table 201 (leg 20101), chair 202 (leg 20201, seat 20202), cat 203 (head 20301).
TRICKY = [
    ("In Image 1, the chair 101 is larger than the chair 202 in Image 2.", "", "101 202"),
    ("In Image 1 there are 99 bottles beside the chair 101, in Image 2 the cat 203.", "e", ""),
    ("In Image 1 99 tiles lie under the chair 101, in Image 2 150 tiles under the cat 203.", "", "101 203"),
    ("The chairs 101, 102 and 202 are of wood.", "", "101 102 202"),
    ("The chairs 101, 102, and 202 are of wood.", "", "101 102 202"),
    ("The chairs (101, 102) and the chair (202) are of wood.", "", "101 102 202"),
    ("The chairs 101/102 stand apart, the chair #202 does not.", "", "101 102 202"),
    ("The **chair** 101 is old, the `chair 202` is new.", "", "101 202"),
    ("The chair-101 is old and the chair_202 is new.", "", "101 202"),
    ("The CHAIR 101 is old and the Chair 202 is new.", "", "101 202"),
    ("Both cats 103 and 203 lie down.", "", "103 203"),
    ("The dining table 201 is larger than the chair 101.", "", "201 101"),
    ("The table 201 by the chair 202 is larger than the chair 101.", "e", ""),  # 201 is a dining table
    ("The dining tables 201 and the chairs 101, 102 fill the rooms.", "", "201 101 102"),
    ("The cat’s head 10301 is turned away from the cat's head 20301.", "", "10301 20301"),
    ("The cats' heads 10301 and 20301 are turned.", "", "10301 20301"),
    ("The cat 103's head 10301 is turned, as is the head 20301.", "", "103 10301 20301"),
    ("The head of the cat 10301 is turned, and so is the head of the cat 20301.", "", "10301 20301"),
    ("The legs 10101 and 20201 are straight.", "", "10101 20201"),
    ("The chair leg 10101 is thicker than the chair leg 20201.", "", "10101 20201"),
    ("The chair's leg 10101 stands on the floor, unlike the dining table's leg 20101.", "", "10101 20101"),
    ("The chair's leg 20101 is long, the chairs 101 and 202 are short.", "e", ""),  # a leg of the table
    ("In Image 1, the chair's leg 20201 is long, and in Image 2 the cat 203 sleeps, chair 101.", "c", ""),
    ("The chair 105 is larger than the chair 202 and the cat 103.", "e", ""),
    ("The chair 305 is larger than the chair 202 and the cat 103.", "e", ""),
    ("The chair 10109 is larger than the chair 202 and the cat 103.", "e", ""),
    ("The cat 101 is smaller than the chair 202.", "d", ""),  # nothing of image 1 resolves
    ("The cat 101 and the chair 102 are smaller than the chair 202.", "e", ""),
    ("The sofa 101 and the chair 102 face the chair 202.", "e", ""),  # a name that nobody listed
    ("101 and 102 are smaller than the chair 202, near the cat 103.", "e", ""),
    ("The chairs 101-102 face the chair 202.", "e", ""),
    ("The 101 chair and the chair 102 face the chair 202.", "e", ""),
    ("The poster of 101 Dalmatians hangs over the chair 102; the chair 202 is bare.", "", "102 202"),
    ("The clock over the chair 102 shows 101; the chair 202 is bare.", "", "102 202"),
    ("The chair 102 cost $101, the chair 202 weighs 203 kilograms.", "", "102 202"),
    ("The chair 102 is 101.5 cm high, the chair 202 is 1,203 mm.", "", "102 202"),
    ("The chair 102 is 101% wood, the chair 202 is 10102nd in a row.", "", "102 202"),
    ("The chairs 102 and 150 tiles are red, the chair 202 is blue.", "", "102 202"),
    ("In Image 1, the chair 101 is red.", "d", ""),
    ("The chair 101 in Image 1 is red; Image 2 has a chair too.", "d", ""),
    ("The chair 101 is red, the chair 202 is blue, as in Image 3.", "c", ""),
    ("The chair 101 is red, the chair 202 is blue, unlike in the third image.", "c", ""),
    ("In all three images, such as chair 101 and chair 202, it is red.", "c", ""),
    ("In Image 2, the chair 101 is red. In Image 1, the chair 202 is blue.", "c", ""),
    ("The second image shows the chair 101; the first image shows the chair 202.", "c", ""),
    ("In Image 1, three things stand: the chairs 101, 102 and the cat 103. In Image 2, one: 202.", "d", ""),
    ("In Image 1, two chairs 101 and 102 stand; in Image 2, one chair 202.", "", "101 102 202"),
    ("In Image 1, the chair 101 is lower than the chair 202.", "", "101 202"),
    ("Unlike in Image 1, the chair 202 is alone, without a chair 102.", "", "202 102"),
    ("In Image 1, the dog sleeps by the chair 101; in Image 2 the chair 202 is bare.", "e", ""),
    ("In Image 1 there is no dog by the chair 101; in Image 2 the chair 202 is bare.", "", "101 202"),
    ("The chair 101 stands without a dog or a bus, the chair 202 too.", "", "101 202"),
    ("The dog is not visible beside the chair 101, nor beside the chair 202.", "", "101 202"),
    ("There is no chair like the chair 101 and a dog sits on the chair 202.", "e", ""),
    ("The chair 101 is not red but the dog sits on the chair 202.", "e", ""),
    ("The chair 101 lacks a bottle; the chair 202 has a bottle.", "e", ""),
    ("The dogs' heads are turned to the chairs 101 and 202.", "e", ""),
    ("The cat's ear is turned to the chairs 101 and 202.", "e", ""),  # no ear is annotated here
    ("The chairs 101 and 202 can be moved while you watch.", "", "101 202"),
    ("The chairs 101 and 202 stand by a can.", "e", ""),
    ("The potted plants stand by the chairs 101 and 202.", "e", ""),
    ("The table stands by the chairs 101 and 202.", "", "101 202"),  # a dining table is a table
    ("The bounding box of the chair 101 is wider than that of the chair 202.", "b", ""),
    ("The chair 101 at [12, 40, 200, 310] is larger than the chair 202.", "b", ""),
    ("The chair 101 at (12, 40) is larger than the chair 202.", "b", ""),
    ("Both rooms have chairs.", "a", ""),
    ("", "a", ""),
    ("Ω 𝟙𝟘𝟙 \x00 chair 101, \ud7ff chair 202", "", "101 202"),
]


@pytest.mark.parametrize(("answer", "letter", "codes"), TRICKY, ids=[answer[:60] for answer, _, _ in TRICKY])
def test_tricky_answers(answer: str, letter: str, codes: str) -> None:
    verdict = judge(QAPair(QUESTION, answer), two_rooms(), LEXICON)
    assert (verdict.letter, verdict.detail if verdict.letter != letter else "") == (letter, "")
    if not letter:
        assert verdict.pair.answer.codes == codes.split()


def test_the_table_is_long_enough() -> None:
    assert len(TRICKY) >= 40


@pytest.mark.parametrize(
    ("question", "letter"),
    [
        ("List the objects in the images.", "a"),
        ("Which objects are in the images?", "a"),
        ("Where is the chair with the box [1, 2, 3, 4]?", "b"),
        ("Which dog is nearer?", "e"),
        ("Which chair 105 is nearer?", "e"),
        ("Which chair of Image 4 is nearer?", "c"),
        ("Is the chair 101 larger than the chair 202?", ""),
        ("Which image has no dog?", ""),
    ],
)
def test_questions_are_judged_too(question: str, letter: str) -> None:
    verdict = judge(QAPair(question, "The chair 101 and the chair 202."), two_rooms(), LEXICON)
    assert verdict.letter == letter, verdict.detail


def test_what_no_image_lists_may_still_be_there() -> None:
    open_list = stored(5, [("cat", (0, 0, 50, 50), {})], absent=["bus"])
    lost_one = stored(6, [("cat", (0, 0, 40, 40), {})], unsure=["bottle"])
    listing = list_images([open_list, lost_one])

    def letter(thing: str) -> str:
        answer = f"The cat 101 sits by the {thing}, and so does the cat 201."
        return judge(QAPair("How do they sit?", answer), listing, LEXICON).letter

    # The first says that there is no bus, and leaves dogs open; in the second a bottle was too small to keep.
    assert letter("bus") == "e"
    assert letter("dog") == ""
    assert letter("bottle") == ""


def test_more_than_sixteen_masks_are_too_many() -> None:
    chairs = [("chair", (n, n, 100 - n, 100 - n), {}) for n in range(12)]
    listing = list_images([stored(1, chairs), stored(2, chairs)])
    for count, letter in ((8, ""), (9, "f")):
        codes = [f"{x}{n:02d}" for x in (1, 2) for n in range(1, count + 1)]
        verdict = judge(QAPair(QUESTION, f"The chairs {', '.join(codes)}."), listing, LEXICON)
        assert verdict.letter == letter
    repeated = "The chair 101 and " * 16 + "the chair 201."
    assert judge(QAPair(QUESTION, repeated), listing, LEXICON).letter == "f"


def test_the_clean_text_and_its_phrases() -> None:
    answer = (
        "In Image 1 the chairs (101, 102) stand; in Image 2, the head of the cat 20301 rests by chair #202."
    )
    text, phrases = judge(QAPair(QUESTION, answer), two_rooms(), LEXICON).pair.answer.clean()
    assert text == "In Image 1 the chairs stand; in Image 2, the head of the cat rests by chair."
    assert [(text[p.start : p.end], p.codes) for p in phrases] == [
        ("chairs", ("101", "102")),
        ("head of the cat", ("20301",)),
        ("chair", ("202",)),
    ]


# ---- whatever a generator writes ---------------------------------------------------------------------------

LISTED = sorted(three_rooms().by_code)
NOUNS = [*VOCABULARY, "chairs", "cat's head", "dog's tail", "legs", "knives", "head of the cat", "sofa"]
WORDS = st.sampled_from(
    [
        *NOUNS,
        "In Image 1,",
        "Image 2",
        "the third image",
        "and",
        "no",
        "without",
        "not",
        "(",
        ")",
        ",",
        ".",
        "the",
    ]
)
NUMBERS = st.one_of(
    st.sampled_from(LISTED), st.integers(0, 99999).map(str), st.sampled_from(["99", "101", "10101", "4.101"])
)
TEXTS = st.lists(st.one_of(WORDS, NUMBERS, st.text(max_size=8)), max_size=40).map(" ".join)


def check_kept(answer: str, listing: Listing) -> bool:
    verdict = judge(QAPair(QUESTION, answer), listing, LEXICON)
    if not verdict.kept:
        assert verdict.letter in {letter for letter, _, _ in FILTERS}
        assert verdict.reason
        assert verdict.detail
        return False
    parsed = verdict.pair.answer
    assert {listing.by_code[code].image_index for code in parsed.codes} == set(range(len(listing.images)))
    assert len(parsed.codes) <= MAX_MASKS
    text, phrases = parsed.clean()
    for phrase in phrases:
        last = text[phrase.start : phrase.end].lower().replace("'", " ").split()
        assert last, "a phrase has words"
        for code in phrase.codes:
            name = listing.by_code[code].region.name
            assert any(name.split()[-1][:3] in word for word in last), (text[phrase.start : phrase.end], name)
    assert "bus" not in re.findall(r"\w+", re.sub(r"(no|without|nor|not|lacks)\b.*", "", text, flags=re.S))
    return True


@given(TEXTS)
def test_nothing_wrong_passes(answer: str) -> None:
    check_kept(answer, three_rooms())


MENTIONS = st.sampled_from(three_rooms().entries).map(lambda entry: f"the {entry.name} {entry.code}")
OTHERS = st.sampled_from(
    ["stands.", "and", "near", "99 tiles", "a bus", "the dogs", "chair 909", "in Image 7"]
)


@given(st.lists(st.one_of(MENTIONS, OTHERS), min_size=1, max_size=24))
def test_sound_mentions_pass_and_nothing_else(pieces: list[str]) -> None:
    listing = three_rooms()
    named = [entry for piece in pieces for entry in listing.entries if piece.endswith(f" {entry.code}")]
    sound = (
        not {"a bus", "the dogs", "chair 909", "in Image 7"} & set(pieces)
        and {entry.image_index for entry in named} == {0, 1, 2}
        and len(named) <= MAX_MASKS
    )
    assert check_kept(" ".join(pieces), listing) == sound


def test_both_kinds_of_answers_occur() -> None:
    images = list_images([living_room(), kitchen()])
    assert check_kept("The chair 101 and the knife 201.", images)
    assert not check_kept("The chair 101 and the knife 301.", images)


@pytest.mark.parametrize(("words", "letter"), [(7, "a"), (8, "")])
def test_a_list_is_an_answer_from_eight_words_besides_the_names_on(words: int, letter: str) -> None:
    answer = f"{'they ' * words}chair 101, chair 202."
    verdict = judge(QAPair("List the objects in the images.", answer), two_rooms(), LEXICON)
    assert verdict.letter == letter, verdict.detail


def test_ninety_nine_objects_of_an_image_are_listed() -> None:
    cans = [("can", (8 * (n % 20), 8 * (n // 20), 8, 8), {}) for n in range(100)]
    listing = list_images([stored(1, cans), stored(2, cans[:1])])
    assert [entry.code for entry in listing.entries][-2:] == ["199", "201"]
    assert listing.unlisted == 1
