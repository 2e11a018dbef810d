"""Literal ids in, literal embeddings out; every mismatch is told with both counts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from segue.errors import AlignmentError
from segue.models.splice import (
    TextInputs,
    check_image_indices,
    check_image_masks,
    check_seg_count,
    expand_placeholders,
    seg_state_positions,
    splice_visual_tokens,
)

IMG, SEG, PAD = 3, 4, 0


def embed(ids: Tensor) -> Tensor:
    """Token t becomes (t, t)."""
    return ids[..., None].float().repeat(1, 1, 2)


def test_the_worked_example() -> None:
    ids = torch.tensor([[20, IMG, IMG, IMG, 7, 21, IMG, IMG, IMG, 8]])
    visual = torch.arange(6).reshape(2, 3, 1).repeat(1, 1, 2) + 100.0
    found = splice_visual_tokens(embed(ids), ids, IMG, visual, torch.ones(2, 3, dtype=torch.bool))
    assert found[0, :, 0].tolist() == [20, 100, 101, 102, 7, 21, 103, 104, 105, 8]
    assert found[0, :, 1].tolist() == found[0, :, 0].tolist()


def test_a_ragged_batch_skips_padded_visual_tokens() -> None:
    # One image with three tokens; then two images with two tokens each (their instruction is shorter).
    ids = torch.tensor([[20, IMG, IMG, IMG, 7, PAD, PAD], [20, IMG, IMG, 7, IMG, IMG, 8]])
    visual = torch.arange(9).reshape(3, 3, 1).repeat(1, 1, 2) + 100.0
    mask = torch.tensor([[True, True, True], [True, True, False], [True, True, False]])
    found = splice_visual_tokens(embed(ids), ids, IMG, visual, mask)
    assert found[..., 0].tolist() == [[20, 100, 101, 102, 7, 0, 0], [20, 103, 104, 7, 106, 107, 8]]


def test_text_without_images_passes() -> None:
    ids = torch.tensor([[20, 21]])
    found = splice_visual_tokens(
        embed(ids), ids, IMG, torch.zeros(0, 3, 2), torch.zeros(0, 3, dtype=torch.bool)
    )
    assert torch.equal(found, embed(ids))


def test_visual_tokens_take_the_type_of_the_text_and_get_gradients() -> None:
    ids = torch.tensor([[20, IMG, 21]])
    visual = torch.ones(1, 1, 2, requires_grad=True)
    found = splice_visual_tokens(embed(ids).half(), ids, IMG, visual, torch.ones(1, 1, dtype=torch.bool))
    assert found.dtype == torch.float16
    found.float().sum().backward()
    assert visual.grad is not None
    assert visual.grad.tolist() == [[[1, 1]]]


@pytest.mark.parametrize(("tokens", "found"), [(5, "5 from 1 images"), (3, "3 from 1 images")])
def test_placeholders_and_visual_tokens_must_agree(tokens: int, found: str) -> None:
    ids = torch.tensor([[20, IMG, IMG, IMG, IMG, 7]])
    with pytest.raises(AlignmentError) as caught:
        splice_visual_tokens(
            embed(ids), ids, IMG, torch.zeros(1, tokens, 2), torch.ones(1, tokens, dtype=torch.bool)
        )
    assert "4 visual tokens" in str(caught.value)
    assert found in str(caught.value)


def test_the_prompt_is_the_state_before_each_labelled_seg() -> None:
    # "the <p> mug </p> [SEG] (IMAGE1)": the state at </p>.
    answer = [30, 5, 31, 6, SEG, 7]
    ids = torch.tensor([[SEG, *answer, PAD], [20, *answer, SEG]])
    labels = torch.tensor([[-100, *answer, -100], [-100, *answer, SEG]])
    rows, columns = seg_state_positions(ids, labels, SEG)
    # The [SEG] at the head of row 0 stands in a user's text and has no label.
    assert rows.tolist() == [0, 1, 1]
    assert columns.tolist() == [4, 4, 6]
    assert ids[rows, columns].tolist() == [6, 6, 7]


def test_history_asks_for_no_mask() -> None:
    ids = torch.tensor([[30, SEG, 31, SEG]])
    rows, columns = seg_state_positions(ids, torch.tensor([[-100, -100, 31, SEG]]), SEG)
    assert (rows.tolist(), columns.tolist()) == ([0], [2])


def test_seg_masks_and_indices_must_be_equally_many() -> None:
    check_seg_count(2, 2, 2)
    check_seg_count(0, 0, 0)
    for masks, indices in ((3, 2), (2, 3)):
        with pytest.raises(AlignmentError) as caught:
            check_seg_count(2, masks, indices)
        assert "2 masks and image indices" in str(caught.value)
        assert f"{masks} masks, {indices} image indices" in str(caught.value)


@pytest.mark.parametrize("indices", [[0, 3], [-1, 0]])
def test_masks_address_images_of_the_batch(indices: list[int]) -> None:
    with pytest.raises(AlignmentError) as caught:
        check_image_indices(torch.tensor(indices), 3)
    assert "0..2" in str(caught.value)
    assert str(indices) in str(caught.value)


def test_right_image_indices_pass() -> None:
    check_image_indices(torch.tensor([0, 2, 1]), 3)
    check_image_indices(torch.zeros(0, dtype=torch.long), 3)


def test_an_image_has_as_many_masks_as_seg() -> None:
    check_image_masks(1, 2, 2)
    with pytest.raises(AlignmentError) as caught:
        check_image_masks(1, 2, 3)
    assert all(word in str(caught.value) for word in ("2 masks", "3 masks", "mask_labels[1]"))


def test_placeholders_are_repeated_once_per_visual_token() -> None:
    text = TextInputs(
        torch.tensor([[20, IMG, 21, IMG, 22], [20, IMG, 21, 22, PAD]]),
        torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]),
        torch.tensor([[-100, -100, -100, -100, 22], [-100, -100, -100, 22, -100]]),
    )
    expand_placeholders(text, IMG, torch.tensor([3, 1, 2]))
    assert text.input_ids.tolist() == [[20, IMG, IMG, IMG, 21, IMG, 22], [20, IMG, IMG, 21, 22, PAD, 0]]
    assert text.attention_mask is not None
    assert text.attention_mask.tolist() == [[1] * 7, [1, 1, 1, 1, 1, 0, 0]]
    assert text.labels is not None
    assert text.labels.tolist() == [[-100] * 6 + [22], [-100] * 4 + [22, -100, -100]]


def test_rows_of_one_length_get_a_mask_when_they_grow_apart() -> None:
    text = TextInputs(torch.tensor([[IMG, 20], [IMG, 21]]))
    expand_placeholders(text, IMG, torch.tensor([1, 3]))
    assert text.attention_mask is not None
    assert text.attention_mask.tolist() == [[1, 1, 0, 0], [1, 1, 1, 1]]
    assert text.labels is None


def test_a_placeholder_for_every_image() -> None:
    with pytest.raises(AlignmentError, match=r"3 <image> placeholders(.|\n)*2"):
        expand_placeholders(TextInputs(torch.tensor([[IMG, 20, IMG]])), IMG, torch.tensor([1, 2, 3]))
