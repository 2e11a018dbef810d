"""PRIST as it was released: a JSON list of dialogues, each about one image and one `focus`.

    {"img_id": "e1de....jpg", "focus": "logo on the watch",
     "dialogue": [{"from": "human", "value": "Where is the logo?"}, {"from": "gpt", "value": "On the ..."},
                  ..., {"from": "human", "value": "Use the dialogue ..."},
                  {"from": "gpt", "value": "Certainly, [SEG]."}]}

The release has no images, masks or reasoning trees. Images (TextCaps) and LabelMe masks are taken from the
user's folders where there are some; what is missing is counted, and the record says `mask: null`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from segue.data.formats.image_folder import ImageFolder
from segue.data.formats.image_header import upright_hw
from segue.data.formats.report import ReadReport
from segue.data.formats.text_file import load_json
from segue.datasets.prist.labels import FoundMask, Matching, folded, label_file, mask_of_focus
from segue.errors import ImageError, InputError, SegueError
from segue.protocol import SEG_TOKEN
from segue.records import Conversation, ImageRef, Region, Span, Turn
from segue.records.conversation import Split

Answers = Literal["named", "plain"]
"""Form of the answer with the mask: with the focus ("Certainly, the logo.", as the paper's template has it)
or the bare published one ("Certainly, ." with a mask without a phrase)."""

_ROLES = {"human": "user", "gpt": "assistant"}


@dataclass
class ReleasedPrist:
    """Conversations of a released file, and what was left out or is missing.

    Attributes:
        conversations: In the order of the file.
        report: What was dropped, and notes on what the file lacks.
        missing: What conversations lack, by reason.
        collisions: (image, focus, label that contains it) where labels were looked at.
    """

    conversations: list[Conversation]
    report: ReadReport
    missing: Counter[str] = field(default_factory=Counter)
    collisions: list[tuple[str, str, str]] = field(default_factory=list)


def read_released(
    path: str | Path,
    *,
    images: str | Path | None = None,
    labels: str | Path | None = None,
    split: Split = "test",
    matching: Matching = "exact",
    answers: Answers = "named",
) -> ReleasedPrist:
    """Read a released file.

    Args:
        path: The JSON file.
        images: Folder of the images, for their sizes and paths; without it paths are those of TextCaps.
        labels: Folder with one LabelMe JSON per image.
        split: Written into the records.
        matching: See `segue.datasets.prist.labels`.
        answers: See `Answers`. Either way `to_released` gives back the published item.

    Raises:
        InputError: No JSON list, or no dialogue in it can be used.

    Source: PRIST's release; region and span form are ours.
    """
    path = Path(path).expanduser()
    data = load_json(path)
    report = ReadReport("prist", path)
    if not isinstance(data, list):
        report.drop("the file", "not a list", expected="a JSON list of dialogues", found=type(data).__name__)
        raise report.nothing_usable("a JSON list of dialogues with img_id, dialogue and focus")
    result = ReleasedPrist([], report)
    folders = _Folders(images, labels, matching, result)
    seen: Counter[str] = Counter()
    for number, item in enumerate(data):
        try:
            image, focus, messages = _checked(item)
            id = f"prist/{split}/{Path(image).stem}/{seen[image]}"
            conversation = _conversation(id, split, image, focus, messages, answers, folders)
        except SegueError as error:
            report.drop(
                f"item {number}", error.summary, expected=error.expected, found=error.found, fix=error.fix
            )
            continue
        seen[image] += 1
        result.conversations.append(conversation)
    if not result.conversations:
        raise report.nothing_usable("dialogues with img_id, dialogue and focus")
    _describe(result)
    return result


def to_released(conversation: Conversation) -> dict[str, Any]:
    """Write a PRIST conversation as the release has it; the inverse of reading, in either form of answers.

    Raises:
        InputError: Not a PRIST conversation with one focus.
    """
    if conversation.task != "prist" or len(conversation.images) != 1 or "focus" not in conversation.meta:
        raise InputError(
            "This conversation has no released form.",
            expected="task prist, one image, and a focus in meta",
            found=f"task {conversation.task}, {len(conversation.images)} image(s)",
            where=f"conversation {conversation.id!r}",
            fix="write it as gconv/1",
        )
    names = {role: name for name, role in _ROLES.items()}
    dialogue = []
    for turn in conversation.turns:
        text = turn.text
        # From the end, so that the offsets of earlier spans stay right.
        for span in reversed(turn.spans):
            text = text[: span.start] + SEG_TOKEN + text[span.end :]
        dialogue.append({"from": names[turn.role], "value": text})
    name = conversation.meta.get("img_id") or Path(conversation.images[0].path).name
    return {"img_id": name, "dialogue": dialogue, "focus": conversation.meta["focus"]}


class _Folders:
    """The user's images and masks, and what they lack."""

    def __init__(
        self, images: str | Path | None, labels: str | Path | None, matching: Matching, result: ReleasedPrist
    ) -> None:
        for name, folder in (("images", images), ("labels", labels)):
            if folder is not None and not Path(folder).expanduser().is_dir():
                raise InputError(
                    f"The folder of the {name} is not there.",
                    expected="a folder",
                    found="nothing, or a file",
                    where=str(folder),
                    fix=f"check --{name}",
                )
        self.images = None if images is None else ImageFolder(Path(images).expanduser())
        self.labels = None if labels is None else Path(labels).expanduser()
        self.matching, self.result = matching, result

    def image(self, name: str) -> tuple[str, tuple[int, int]]:
        """Path, and (height, width); (0, 0) while unknown."""
        missing = self.result.missing
        found = None if self.images is None else self.images.find(name)
        if found is None or self.images is None:
            missing["image file"] += 1
            return f"textcaps/train/{name}", (0, 0)
        try:
            hw = upright_hw(found)
        except ImageError:
            missing["readable image file"] += 1
            return f"textcaps/train/{name}", (0, 0)
        try:
            return found.relative_to(self.images.folder).as_posix(), hw
        except ValueError:
            return found.as_posix(), hw

    def mask(self, name: str, focus: str, hw: tuple[int, int]) -> FoundMask:
        """The mask of a focus; counts why there is none."""
        missing = self.result.missing
        if self.labels is None:
            missing["mask: no folder of labels given"] += 1
            return FoundMask(None, None)
        file = label_file(self.labels, name)
        found = (
            FoundMask(None, None, "no label file") if file is None
            else mask_of_focus(file, focus, self.matching)
        )  # fmt: skip
        if found.rle is not None and hw != (0, 0) and found.hw != hw:
            found = FoundMask(None, None, "label file of another image size", found.collisions)
        if found.problem:
            missing[f"mask: {found.problem}"] += 1
        if found.unusable:
            missing["outlines that cannot be drawn"] += found.unusable
        self.result.collisions += [(name, focus, label) for label in found.collisions]
        return found


def _checked(item: Any) -> tuple[str, str, list[tuple[str, str]]]:
    """Image name, focus and (role, text) of an item; InputError says what is wrong with it."""
    if not isinstance(item, Mapping):
        raise _wrong("An item is not an object.", "an object", type(item).__name__)
    image, focus, dialogue = (item.get(key) for key in ("img_id", "focus", "dialogue"))
    for key, value in (("img_id", image), ("focus", focus)):
        if not isinstance(value, str) or not value.strip():
            raise _wrong("A field is missing.", f"a text in {key!r}", repr(value)[:60])
    if not isinstance(dialogue, list) or len(dialogue) < 2 or len(dialogue) % 2:
        found = f"{len(dialogue)} messages" if isinstance(dialogue, list) else repr(dialogue)[:60]
        raise _wrong("The dialogue is not made of pairs.", "questions and answers in turn", found)
    messages = []
    for number, message in enumerate(dialogue):
        wanted = ("human", "gpt")[number % 2]
        role, text = (message.get("from"), message.get("value")) if isinstance(message, Mapping) else ("", 0)
        if role != wanted or not isinstance(text, str):
            raise _wrong(
                "The speakers do not take turns.", f"message {number} from {wanted!r}", f"{role!r}: {text!r}"
            )
        messages.append((_ROLES[wanted], text))
    if any(SEG_TOKEN in text for role, text in messages if role == "user"):
        raise _wrong("A question asks with a mask.", f"{SEG_TOKEN} in answers only", "one in a question")
    count = sum(text.count(SEG_TOKEN) for _, text in messages)
    if not count:
        raise _wrong("The dialogue has no mask.", f"{SEG_TOKEN} in an answer", "none")
    return str(image), str(focus), messages


def _wrong(summary: str, expected: str, found: str) -> InputError:
    return InputError(summary, expected=expected, found=found[:200], fix="correct the item, or leave it out")


def _conversation(
    id: str,
    split: Split,
    image: str,
    focus: str,
    messages: list[tuple[str, str]],
    answers: Answers,
    folders: _Folders,
) -> Conversation:
    path, hw = folders.image(image)
    found = folders.mask(image, focus, hw)
    # The label file knows the size also where the image is not at hand.
    hw = found.hw or hw
    region = Region(rid="r1", image_index=0, kind="region", name=focus, mask=found.rle)
    inserted = focus if answers == "named" else ""
    turns = []
    for role, text in messages:
        # With the focus "red mug", "Certainly, [SEG]." becomes "Certainly, red mug." and span (11, 18); with
        # plain answers it becomes "Certainly, ." and span (11, 11).
        pieces = text.split(SEG_TOKEN)
        spans, written = [], pieces[0]
        for piece in pieces[1:]:
            spans.append(Span(start=len(written), end=len(written) + len(inserted), rids=["r1"]))
            written += inserted + piece
        turns.append(Turn(role=role, text=written, spans=spans))  # type: ignore[arg-type]
    return Conversation(
        id=id,
        task="prist",
        split=split,
        images=[
            ImageRef(image_id=f"textcaps:{Path(image).stem}", path=path, height=hw[0], width=hw[1]),
        ],
        regions=[region],
        turns=turns,
        meta={"img_id": image, "focus": focus, "answers": answers},
    )


def _describe(result: ReleasedPrist) -> None:
    """Fill the report: what there is, what it lacks, and what about it is odd."""
    report, conversations = result.report, result.conversations
    by_image: dict[str, list[str]] = defaultdict(list)
    for conversation in conversations:
        by_image[conversation.meta["img_id"]].append(folded(conversation.meta["focus"]))
    report.conversations = len(conversations)
    report.images = len(by_image)
    report.regions = sum(c.regions[0].mask is not None for c in conversations)
    rounds = Counter(len(c.turns) // 2 for c in conversations)
    report.notes.append(
        f"{sum(n * k for n, k in rounds.items())} questions and answers: "
        + ", ".join(f"{k} dialogues of {n}" for n, k in sorted(rounds.items()))
    )
    report.notes += [f"lacking in {count} dialogues: {what}" for what, count in result.missing.most_common()]
    distinct = {image: sorted(set(focuses)) for image, focuses in by_image.items()}
    twice = sum(len(focuses) - len(distinct[image]) for image, focuses in by_image.items())
    # Over distinct focuses: two equal ones are repeats, counted above, and not nested.
    nested = sum(a != b and a in b for focuses in distinct.values() for a in focuses for b in focuses)
    several = sum(" and " in f" {f} " or "," in f for focuses in by_image.values() for f in focuses)
    report.notes += [
        f"{twice} dialogues repeat the focus of another one about the same image",
        f"{nested} pairs of focuses of one image where one contains the other "
        "(what substring matching would confuse)",
        f"{several} focuses name several things, by a comma or 'and'",
    ]
    if result.collisions:
        listed = "; ".join(f"{focus!r} in {label!r}" for _, focus, label in result.collisions[:5])
        report.notes.append(f"{len(result.collisions)} labels contain a focus and are another: {listed}")
