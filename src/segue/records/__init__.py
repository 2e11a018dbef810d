"""Grounded conversations as data: the record `gconv/1`, its files, and the answer that a session returns.

A record holds images, regions (objects, parts or any other area, each with a mask) and tag-free turns whose
spans name regions. Model families render their own markup from it, see `grounded_markup`.

    {"schema": "gconv/1", "id": "scenes/7", "task": "scenes", "split": "train",
     "images": [{"image_id": "scenes:7_0", "path": "images/7_0.png", "height": 224, "width": 224}],
     "regions": [{"rid": "i1o1", "image": 1, "kind": "object", "name": "red mug", "mask": {...}}],
     "turns": [{"role": "user", "text": "What do you see?"},
               {"role": "assistant", "text": "A red mug.", "spans": [{"start": 2, "end": 9, "rids":
               ["i1o1"]}]}]}

In files images are numbered from 1 (`image`), in code from 0 (`image_index`).
"""

from segue.records.answer import GroundedAnswer, Grounding
from segue.records.conversation import (
    SPLITS,
    TASKS,
    Conversation,
    IgnoredArea,
    ImageRef,
    Region,
    Span,
    Turn,
)
from segue.records.dialogue_text import DialogueText, write_dialogue
from segue.records.file_form import SCHEMA
from segue.records.jsonl import RecordReader, read_jsonl, write_jsonl
from segue.records.markup import grounded_markup, question_markup
from segue.records.meta import Meta, TurnMeta

__all__ = [
    "SCHEMA",
    "SPLITS",
    "TASKS",
    "Conversation",
    "DialogueText",
    "GroundedAnswer",
    "Grounding",
    "IgnoredArea",
    "ImageRef",
    "Meta",
    "RecordReader",
    "Region",
    "Span",
    "Turn",
    "TurnMeta",
    "grounded_markup",
    "question_markup",
    "read_jsonl",
    "write_dialogue",
    "write_jsonl",
]
