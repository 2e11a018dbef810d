"""`report.html` in a browser: its numbers, its bars and its pictures are seen, and nothing is asked for."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from browser_page import has_basics
from segue import masks
from segue.evaluation.evaluate import ScoringOptions, score_answers
from segue.evaluation.evaluation_data import EvaluationData
from segue.evaluation.predictions import Answer
from segue.evaluation.report import write_report
from segue.evaluation.sentence_embedder import FoundEmbedder
from segue.metrics.matching import GroundedMask
from segue.records import Conversation, ImageRef, Region, Span, Turn
from tiny_model import picture

if TYPE_CHECKING:
    from playwright.sync_api import Page

HW = (40, 60)


def block(top: int, left: int, side: int = 20) -> masks.RLE:
    mask = np.zeros(HW, bool)
    mask[top : top + side, left : left + side] = True
    return masks.encode(mask)


def evaluation(folder: Path, count: int = 14) -> Path:
    """Conversations of one and two questions; the later ones are answered worse, the last not at all."""
    records, answers = [], {}
    for k in range(count):
        picture(*HW, shade=30 + 12 * k).save(folder / f"{k}.png")
        asked = []
        for _ in range(1 + k % 2):
            asked += [
                Turn(role="user", text="Where is the <mug> & co?"),
                Turn(role="assistant", text="The mug is there.", spans=[Span(start=4, end=7, rids=["m"])]),
            ]
        image = ImageRef(image_id=f"t:{k}", path=f"{k}.png", height=HW[0], width=HW[1])
        region = Region(rid="m", image_index=0, kind="object", name="mug", mask=block(5, 5))
        records.append(
            Conversation(
                id=f"t/{k}", task="scenes", split="test", images=[image], regions=[region], turns=asked
            )
        )
        if k < count - 1:
            for turn in range(1, 2 + k % 2):
                drawn = GroundedMask(0, "mug", block(5, 5 + k))
                answers[f"t/{k}", turn] = Answer("The mug, <b>there</b>.", (drawn,))
    data = EvaluationData(records, folder)
    scoring = ScoringOptions(embedder=FoundEmbedder(None, reason="none here"), drawings=50)
    metrics, items, protocol = score_answers(answers, data, {"model": "by hand"}, scoring)
    shown = {c.id: data.image_paths(c) for c in records}
    return write_report(folder / "report.html", metrics, items, protocol, shown)


def test_the_report_is_seen(browser_page: Page, tmp_path: Path) -> None:
    page = browser_page
    page.goto(evaluation(tmp_path).as_uri())
    assert has_basics(page)
    # What data say is text: no markup of theirs becomes the page's.
    assert page.locator(".answer b", has_text="there").count() == 0
    assert page.locator(".answer").count() == 12
    assert page.locator("h2", has_text="Failures: 2").count() == 1
    heads = [page.locator("h2", has_text=t).count() for t in ("Best answers", "Worst answers", "at random")]
    assert heads == [1, 1, 1]
    loaded = "[...document.images].every(i => i.complete && i.naturalWidth > 0)"
    assert page.evaluate(loaded)
    assert page.locator("svg").count() >= 2
    # The pictures themselves, not what they look like: elements may lie on fractions of a pixel.
    best, worst = page.locator(".answer").nth(0), page.locator(".answer").nth(4)
    (answer, truth), (wrong, right) = (
        [shown.locator("img").nth(n).get_attribute("src") for n in (0, 1)] for shown in (best, worst)
    )
    assert answer == truth, "the best answer's mask is the reference's"
    assert wrong != right
    if target := os.environ.get("SEGUE_SCREENSHOT"):
        page.screenshot(path=target, full_page=True)
