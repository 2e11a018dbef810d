"""Text scores are the libraries' own; what is not installed is None with a reason."""

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from segue.errors import InputError
from segue.metrics.language import bleu_4, distinct, rouge_l, text_scores

ANSWERS = ["The red mug is in image 1 on the left.", "There is no lamp."]
REFERENCES = ["The red mug is in image 2 on the left side.", "There is no lamp in image 2."]


def test_bleu_is_sacrebleus() -> None:
    import sacrebleu

    assert bleu_4(ANSWERS, REFERENCES) == pytest.approx(sacrebleu.corpus_bleu(ANSWERS, [REFERENCES]).score)
    assert bleu_4(REFERENCES, REFERENCES) == pytest.approx(100)


def test_rouge_by_hand() -> None:
    # Longest common subsequence of 3 words, 4 said and 5 wanted: P 3/4, R 3/5.
    assert rouge_l(["a b c x"], ["a b y c z"]) == pytest.approx(100 * 2 * 0.75 * 0.6 / 1.35)


def test_distinct_by_hand() -> None:
    assert distinct(["a b a", "b a"], 1) == pytest.approx(100 * 2 / 5)
    assert distinct(["a b a", "b a"], 2) == pytest.approx(100 * 2 / 3)
    assert distinct(["a", ""], 2) is None


def test_what_cannot_be_measured_is_none_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in ("sacrebleu", "pycocoevalcap"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name.split(".")[0])
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    found = text_scores(ANSWERS, REFERENCES)
    assert found.values["bleu_4"] is None
    assert found.reasons["bleu_4"] == "sacrebleu is not installed: pip install 'segue[eval]'"
    assert found.values["rouge_l"] is not None
    assert (found.values["meteor"] is None) == ("meteor" in found.reasons)


def test_failed_answers_count_zero_and_are_not_left_out() -> None:
    whole = text_scores(ANSWERS, REFERENCES).values["rouge_l"]
    half = text_scores(["", ANSWERS[1]], REFERENCES).values["rouge_l"]
    assert whole is not None
    assert half is not None
    assert half < whole
    with pytest.raises(InputError, match="2 answers"):
        text_scores(["one"], REFERENCES)


def test_no_answers_have_no_scores() -> None:
    found = text_scores([], [])
    assert set(found.values.values()) == {None}
    assert set(found.reasons) == set(found.values)


def test_only_what_is_asked_for_is_computed() -> None:
    found = text_scores(["a red mug"], ["a red mug"], ("rouge_l", "dist_1"))
    assert found.values.keys() == {"rouge_l", "dist_1"}


def test_wordnet_is_looked_for_where_nltk_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import sys, segue.metrics.language as m; print(m._wordnet_may_be_there(), 'nltk' in sys.modules)"

    def said() -> str:
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    before = said()
    (tmp_path / "corpora" / "wordnet").mkdir(parents=True)
    assert said() == "True False"
    import nltk.data

    # Where this machine has WordNet, both say so; where not, neither does.
    folders = [folder for folder in nltk.data.path if not folder.startswith(str(Path.home()))]
    there = any((Path(f) / "corpora" / n).exists() for f in folders for n in ("wordnet", "wordnet.zip"))
    assert before == f"{there} False"
