"""Answers as text against a reference, by the libraries that define BLEU, ROUGE-L, METEOR and CIDEr.

A score whose library or data is not installed is None, and its reason is said; it is never another score
under the same name.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from segue.errors import InputError


@dataclass
class TextScores:
    """Corpus scores in 0..100 by name, and why some are None.

    Attributes:
        values: By name.
        reasons: Of those that are None.
    """

    values: dict[str, float | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


NAMES = ("bleu_4", "rouge_l", "meteor", "cider", "dist_1", "dist_2")


def text_scores(
    answers: Sequence[str], references: Sequence[str], names: Sequence[str] = NAMES
) -> TextScores:
    """Scores of a set of answers, one reference each.

    Args:
        answers: Clean text without tags; an empty string for an answer that failed, which counts zero.
        references: As many.
        names: Which of `NAMES`; the libraries of the others are not loaded.

    Raises:
        InputError: The numbers differ.
    """
    if len(answers) != len(references):
        raise InputError(
            "Answers and references do not match.",
            expected=f"{len(references)} answers",
            found=str(len(answers)),
            where="text_scores",
            fix="give one reference per answer, failed answers included as empty texts",
        )
    found = TextScores()
    for name, measure in (
        ("bleu_4", bleu_4),
        ("rouge_l", rouge_l),
        ("meteor", meteor),
        ("cider", cider),
    ):
        if name not in names:
            continue
        try:
            found.values[name] = measure(answers, references) if answers else None
            if not answers:
                found.reasons[name] = "there are no answers"
        except ImportError as error:
            found.values[name] = None
            found.reasons[name] = f"{error.name or error} is not installed: pip install 'segue[eval]'"
        except LookupError:
            found.values[name] = None
            found.reasons[name] = "WordNet is not installed; docs/evaluation.md says how, without a download"
    for order in (1, 2):
        if f"dist_{order}" not in names:
            continue
        found.values[f"dist_{order}"] = distinct(answers, order)
        if found.values[f"dist_{order}"] is None:
            found.reasons[f"dist_{order}"] = f"the answers hold no run of {order} words"
    return found


def bleu_4(answers: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU of 1- to 4-grams, 0..100, with sacrebleu's 13a tokens and exponential smoothing.

    Source: sacrebleu; MIRAS names BLEU-4 and gives no tokens.
    """
    from sacrebleu.metrics import BLEU

    return float(BLEU().corpus_score(list(answers), [list(references)]).score)


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean F1 of the longest common subsequence, 0..100, words not stemmed.

    Source: rouge-score.
    """
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    pairs = zip(answers, references, strict=True)
    return 100 * sum(scorer.score(r, a)["rougeL"].fmeasure for a, r in pairs) / len(answers)


def meteor(answers: Sequence[str], references: Sequence[str]) -> float:
    """Mean METEOR, 0..100, exact words, stems and WordNet's synonyms; words parted at blanks, lower case.

    Raises:
        LookupError: WordNet is not among nltk's data.

    Source: nltk's METEOR (its parameters alpha 0.9, beta 3, gamma 0.5); the Java implementation of the
        captioning benchmarks differs by some points.
    """
    if not _wordnet_may_be_there():
        raise LookupError("corpora/wordnet")
    from nltk.translate.meteor_score import single_meteor_score

    pairs = zip(answers, references, strict=True)
    total = sum(single_meteor_score(r.lower().split(), a.lower().split()) for a, r in pairs)
    return 100 * float(total) / len(answers)


def _wordnet_may_be_there() -> bool:
    """False only where nltk would look for WordNet in vain: to import it, to be told so, takes a second.

    Source: nltk's documentation of where its data are searched.
    """
    if "nltk.data" in sys.modules or os.name == "nt":
        return True
    named = [Path(folder) for folder in os.environ.get("NLTK_DATA", "").split(os.pathsep) if folder]
    systems = [
        Path(root) / "nltk_data" for root in ("/usr/share", "/usr/local/share", "/usr/lib", "/usr/local/lib")
    ]
    own = [Path(sys.prefix) / inner / "nltk_data" for inner in ("", "share", "lib")]
    places = [*named, Path.home() / "nltk_data", *own, *systems]
    return any((place / "corpora" / name).exists() for place in places for name in ("wordnet", "wordnet.zip"))


def cider(answers: Sequence[str], references: Sequence[str]) -> float:
    """CIDEr, times 100, of pycocoevalcap; words parted at blanks, lower case.

    Source: pycocoevalcap. It usually follows the Penn tokeniser, which needs Java.
    """
    from pycocoevalcap.cider.cider import Cider

    given = {k: [_plain(text)] for k, text in enumerate(answers)}
    wanted = {k: [_plain(text)] for k, text in enumerate(references)}
    return 100 * float(Cider().compute_score(wanted, given)[0])


def distinct(answers: Sequence[str], order: int) -> float | None:
    """Dist-n: different n-grams over all n-grams of all answers together, 0..100; None where there are none.

    Source: Li et al. 2016; MIRAS's table.
    """
    grams = [
        tuple(words[k : k + order])
        for words in (answer.lower().split() for answer in answers)
        for k in range(len(words) - order + 1)
    ]
    return 100 * len(set(grams)) / len(grams) if grams else None


def _plain(text: str) -> str:
    """Lower case, one blank between words, no punctuation: what the Penn tokeniser leaves of a caption."""
    kept = "".join(c if c.isalnum() or c.isspace() or c == "'" else " " for c in text.lower())
    return " ".join(kept.split())
