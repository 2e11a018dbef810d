"""Words of phrases, and embeddings that are paid for once."""

import numpy as np
import pytest

from segue.metrics.similarity import SemanticSimilarity, semantic_iou, words_of


@pytest.mark.parametrize(
    ("phrase", "words"),
    [
        ("Cabinet:door,", {"cabinet", "door"}),
        ("the cabinet's door", {"the", "cabinets", "door"}),
        ("traffic_light", {"traffic", "light"}),
        ("left-most mug/cup!", {"left", "most", "mug", "cup"}),
        ("  ", set()),
        ("Straße 7", {"strasse", "7"}),
    ],
)
def test_words(phrase: str, words: set[str]) -> None:
    assert words_of(phrase) == words


def test_semantic_iou_by_hand() -> None:
    assert semantic_iou("red mug", "mug") == 0.5
    assert semantic_iou("mug mug", "Mug.") == 1
    assert semantic_iou("", "") == semantic_iou("mug", "") == 0


def test_each_phrase_is_embedded_once_and_scaled() -> None:
    asked: list[list[str]] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.append(texts)
        return np.array([[3.0, 0.0] if "mug" in t else [2.0, 2.0] for t in texts])

    similarity = SemanticSimilarity(embed, batch_size=2)
    found = similarity.matrix(["mug", "lamp", ""], ["red mug", "mug"])
    half = pytest.approx(2**-0.5)
    assert found.tolist() == [[1, 1], [half, half], [0, 0]]
    assert similarity("lamp", "red mug") == half
    assert asked == [["mug", "lamp"], ["red mug"]]
