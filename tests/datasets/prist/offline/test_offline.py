"""Rule-based dialogues: what they say is so, and it takes the dialogue to know their target."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segue import masks
from segue.data.formats.annotations import AnnotatedImage, AnnotatedRegion
from segue.datasets.prist.offline.build import OfflineSettings, Picture, build_offline, dialogues_of
from segue.datasets.prist.offline.clues import clues_for
from segue.datasets.prist.offline.facts import PictureFacts
from segue.datasets.prist.offline.pictures import annotated_pictures, annotated_scene, scene_pictures
from segue.datasets.prist.offline.talk import compose
from segue.datasets.prist.rules import check_tree, names, words_of
from segue.datasets.prist.steps import ReasoningTree
from segue.errors import InputError
from segue.records import Conversation, grounded_markup, read_jsonl
from segue.scenes.render import render_scene

SETTINGS = OfflineSettings(masks="every")


def thing(rid: str, name: str, box: tuple[int, int, int, int], parent: str | None = None) -> AnnotatedRegion:
    mask = np.zeros((100, 100), bool)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = True
    return AnnotatedRegion(rid, "part" if parent else "object", name, parent, masks.encode(mask), name)


def picture(*regions: AnnotatedRegion, **fields: Any) -> AnnotatedImage:
    return AnnotatedImage("p", Path("p.png"), 100, 100, regions, **fields)


TABLE = picture(
    thing("a", "red mug", (5, 10, 15, 20)),
    thing("a1", "handle", (5, 10, 8, 20), "a"),
    thing("a2", "body", (8, 10, 15, 20), "a"),
    thing("b", "blue mug", (80, 10, 95, 30)),
    thing("c", "red chair", (5, 60, 35, 95)),
    thing("d", "green car", (70, 70, 95, 90)),
)


@pytest.fixture(scope="module")
def scenes() -> list[Picture]:
    made = []
    for seed in range(24):
        scene = render_scene(np.random.default_rng(seed), size=96)
        made.append(Picture(annotated_scene(scene, f"s{seed}", Path("s.png")), "s.png", ("lorry",)))
    return made


@pytest.fixture(scope="module")
def made(scenes: list[Picture]) -> list[tuple[Picture, list[Conversation]]]:
    return [(scene, dialogues_of(scene, SETTINGS)) for scene in scenes]


def test_colours_and_phrases_come_from_names() -> None:
    facts = PictureFacts(TABLE)
    assert [e.title for e in facts.objects] == ["red mug", "red chair", "green car", "blue mug"]
    parts = {"handle of the red mug", "body of the red mug"}
    assert set(facts.phrases.values()) == {"red mug", "blue mug", "red chair", "green car"} | parts
    assert facts.phrases[facts.objects[1].index] == "red chair"


def test_twins_are_told_apart_by_place_or_not_at_all() -> None:
    far = [thing(f"k{k}", "cup", (30 * k, 40, 30 * k + 10, 50)) for k in range(3)]
    phrases = PictureFacts(picture(*far)).phrases
    assert sorted(phrases.values()) == ["leftmost cup", "rightmost cup"]
    assert sorted(PictureFacts(picture(*far[:2])).phrases.values()) == ["cup on the left", "cup on the right"]
    near = [thing("a", "cup", (40, 40, 50, 50)), thing("b", "cup", (44, 60, 54, 70))]
    assert PictureFacts(picture(*near)).phrases == {}


def test_small_and_incompletely_named_things_are_left_out() -> None:
    small = thing("s", "pin", (0, 0, 2, 2))
    facts = PictureFacts(picture(small, *TABLE.regions, unsure=frozenset({"red chair"})))
    assert "red chair" not in facts.phrases.values()
    assert "pin" not in facts.phrases.values()
    assert not facts.is_closed


def test_clues_literally() -> None:
    facts = PictureFacts(TABLE)
    mug = facts.objects[0]
    kept = {clue.one: sorted(facts.entities[i].title for i in clue.kept)
            for clue in clues_for(mug, facts.objects, facts)}  # fmt: skip
    assert kept["is on the left side of the picture"] == ["red chair", "red mug"]
    assert kept["is in the upper half of the picture"] == ["blue mug", "red mug"]
    assert kept["is red"] == ["red chair", "red mug"]
    assert kept["is not green"] == ["blue mug", "red chair", "red mug"]
    assert kept["is a container"] == ["blue mug", "red mug"]
    assert kept["could be used to drink coffee from"] == ["blue mug", "red mug"]
    assert kept["is a mug"] == ["blue mug", "red mug"]
    assert kept["looks smallest"] == ["red mug"]
    assert "is to the left of the blue mug" not in kept, "the car stands straight below that mug"
    assert "shows a handle" not in kept, "the other things have no annotated parts: nothing is known of them"


def test_what_stands_between_the_sides_makes_a_clue_unusable() -> None:
    facts = PictureFacts(picture(*TABLE.regions, thing("m", "white lamp", (46, 40, 54, 60))))
    ones = {clue.one for clue in clues_for(facts.objects[0], facts.objects, facts)}
    assert not any("side of the picture" in one or "half of the picture" in one for one in ones)


def test_every_clue_holds_by_the_masks(scenes: list[Picture]) -> None:
    seen = set()
    for scene in scenes:
        facts = PictureFacts(scene.annotated)
        for target in facts.objects:
            for clue in clues_for(target, facts.objects, facts):
                kept = [facts.entities[i] for i in clue.kept]
                rest = [e for e in facts.objects if e not in kept]
                seen.add(clue.kind)
                assert target in kept
                assert rest
                if clue.kind == "colour":
                    assert {e.region.name.split()[0] for e in kept} == {target.colour}
                    assert target.colour not in {e.region.name.split()[0] for e in rest}
                if clue.kind == "size":
                    bigger = [e.region.mask.sum() > target.region.mask.sum() for e in rest]
                    assert bigger == ["smallest" in clue.one] * len(rest)
                if clue.kind == "side" and "left" in clue.one:
                    columns = [np.flatnonzero(e.region.mask.any(axis=0)) for e in (*kept, *rest)]
                    middles = [(c[0] + c[-1] + 1) / 2 / scene.annotated.width for c in columns]
                    assert max(middles[: len(kept)]) < 0.5 < min(middles[len(kept) :])
                if clue.kind == "part":
                    part = clue.one.split()[-1]
                    assert all(any(p.noun == part for p in facts.parts_of(e)) for e in kept)
    assert {"side", "colour", "not colour", "category", "purpose", "kind", "size", "edge", "relation"} <= seen


def test_dialogues_keep_the_rules_of_prist(made: list[tuple[Picture, list[Conversation]]]) -> None:
    for scene, conversations in made:
        focuses = [c.meta["focus"] for c in conversations]
        assert len(set(focuses)) == len(focuses) >= 2
        by_name = {p.annotated.image_id: p for p, _ in made}
        facts = PictureFacts(by_name[scene.annotated.image_id].annotated)
        for conversation in conversations:
            tree = ReasoningTree.model_validate(conversation.meta["tree"])
            check_tree(tree, focuses, paths=len(focuses))
            *before, request, answer = conversation.turns
            assert 2 <= len(before) // 2 <= 8
            focus = conversation.meta["focus"]
            questions = [t.text for t in before if t.role == "user"]
            assert not any(words_of(focus) <= words_of(q) for q in [*questions, request.text])
            [span] = answer.spans
            assert answer.text[span.start : span.end] == focus
            index = next(i for i, phrase in facts.phrases.items() if phrase == focus)
            assert conversation.region("r1").mask == facts.entities[index].region.rle
            for number, turn in enumerate(conversation.turns):
                assert turn.text[0].isupper() or turn.role == "user"
                assert not re.search(r"[{}]|  ", turn.text)
                grounded_markup(conversation, number, "miras")


def test_names_in_earlier_answers_have_their_own_masks(
    made: list[tuple[Picture, list[Conversation]]],
) -> None:
    checked = 0
    for scene, conversations in made:
        rles = {r.name: r.rle for r in scene.annotated.objects}
        for conversation in conversations:
            for turn in conversation.turns[:-2]:
                for span in turn.spans:
                    phrase = turn.text[span.start : span.end].lower()
                    if phrase in rles:
                        assert [conversation.region(rid).mask for rid in span.rids] == [rles[phrase]]
                        checked += 1
    assert checked > 50


def test_one_picture_and_many_histories(made: list[tuple[Picture, list[Conversation]]]) -> None:
    several = [cs for _, cs in made if len({json.dumps(c.regions[0].mask) for c in cs}) == len(cs) >= 2]
    assert len(several) == len(made)
    unnamed = [c for _, cs in made for c in cs if not c.meta["named_before"]]
    assert len(unnamed) >= 0.15 * sum(len(cs) for _, cs in made), "some targets no answer has named"


def test_there_is_variety(made: list[tuple[Picture, list[Conversation]]]) -> None:
    conversations = [c for _, cs in made for c in cs]
    steps = {step for c in conversations for step in c.meta["steps"]}
    assert {"look", "absent", "side", "part by purpose", "other"} <= steps
    questions = [t.text for c in conversations for t in c.turns[:-2] if t.role == "user"]
    assert len(set(questions)) > 0.6 * len(questions)
    assert len({len(c.turns) for c in conversations}) >= 4
    assert {c.regions[0].kind for c in conversations} == {"object", "part"}


def test_an_ambiguous_request_is_asked_back() -> None:
    facts = PictureFacts(TABLE)
    talks = [compose(facts, random.Random(seed), 4) for seed in range(200)]
    asked_back = [t for t in talks if t is not None and t.exchanges[0].step == "ambiguous"]
    assert asked_back
    assert all("two mugs" in t.exchanges[0].answer.text or "one mug" in t.exchanges[0].answer.text
               for t in asked_back)  # fmt: skip
    assert {t.focus for t in asked_back} >= {"red mug", "blue mug"}


def test_of_an_open_picture_only_one_kind_is_spoken_of() -> None:
    cups = [thing(f"k{k}", "cup", (30 * k, 40, 30 * k + 10 + k, 50 + 5 * k)) for k in range(2)]
    open_ = Picture(picture(*TABLE.regions, *cups, absent=frozenset({"boat"})), "p.png", ("boat",))
    conversations = dialogues_of(open_, SETTINGS)
    assert len(conversations) == 3
    assert all(re.search("mug|cup", c.meta["focus"]) for c in conversations)
    lonely = Picture(picture(TABLE.regions[3], TABLE.regions[4], absent=frozenset()), "p.png")
    assert dialogues_of(lonely, SETTINGS) == [], "nobody knows what else there is"
    assert not {s for c in conversations for s in c.meta["steps"]} & {"look", "closest", "beside", "largest"}


def test_nothing_to_tell_apart_gives_no_dialogue() -> None:
    near = [thing("a", "cup", (40, 40, 50, 50)), thing("b", "cup", (44, 60, 54, 70))]
    assert dialogues_of(Picture(picture(*near), "p.png"), SETTINGS) == []
    assert dialogues_of(Picture(picture(), "p.png"), SETTINGS) == []


def test_a_folder_is_the_same_whenever_it_is_interrupted(tmp_path: Path) -> None:
    def build(name: str, count: int, seed: int = 1) -> bytes:
        out = tmp_path / name
        pictures = scene_pictures(out, count, seed=seed, split="val", size=64)
        settings = OfflineSettings(split="val", seed=seed)
        return build_offline(pictures, out, settings, progress=False).records.read_bytes()

    whole = build("a", 4)
    build("b", 2)
    ledger = tmp_path / "b" / "made.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-7])
    assert build("b", 4) == whole
    assert build("a", 4, seed=2) != whole
    records = list(read_jsonl(tmp_path / "b" / "conversations.jsonl"))
    assert all((tmp_path / "b" / c.images[0].path).is_file() for c in records)


def test_annotated_images_name_what_is_absent(tmp_path: Path) -> None:
    other = AnnotatedImage("q", tmp_path / "q.png", 100, 100, (thing("x", "boat", (0, 0, 50, 50)),))
    sources = [get() for _, get in annotated_pictures([TABLE, other], tmp_path)]
    assert sources[0].absent == ("boat",)
    assert "boat" not in sources[1].absent
    report = build_offline(annotated_pictures([TABLE, other], tmp_path), tmp_path, SETTINGS, progress=False)
    assert (report.pictures, report.conversations >= 4) == (2, True)
    assert report.lines()


def test_wrong_settings(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="paths"):
        OfflineSettings(paths=0)
    with pytest.raises(InputError, match="split"):
        next(scene_pictures(tmp_path, 1, seed=0, split="testA", size=64))


def test_a_question_never_names_its_path(made: list[tuple[Picture, list[Conversation]]]) -> None:
    for _, conversations in made:
        assert not any(names(c.meta["focus"], c.meta["question"]) for c in conversations)
