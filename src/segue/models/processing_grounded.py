"""Images to pixel streams, conversations to ids with expanded placeholders, logits back to masks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import BatchFeature, ProcessorMixin

from segue import protocol
from segue.errors import AlignmentError, InputError
from segue.models.image_streams import ImageStream as ImageStream
from segue.models.losses import IGNORE_INDEX, resize_logits

VICUNA_TEMPLATE = {
    "system": "A chat between a curious human and an artificial intelligence assistant. The assistant gives "
    "helpful, detailed, and polite answers to the human's questions.",
    "user": " USER: ",
    "user_again": "USER: ",
    "assistant": " ASSISTANT:",
    "end": "</s>",
}
"""`llava_v1`, the template of LISA and GLaMM; nothing stands between `</s>` and the next turn.

Source: their code."""

SHORT_TEMPLATE = {"system": "", "user": " USER: ", "assistant": " ASSISTANT:", "end": "</s>"}
"""The same without a system sentence, for models trained from scratch. Source: ours."""

LLAMA2_TEMPLATE = {
    "system": "",
    "user": "[INST] <<SYS>>\nYou are a helpful language and vision assistant. You are able to understand "
    "the visual content that the user provides, and assist the user with a variety of tasks using natural "
    "language."
    "\n<</SYS>>\n\n",
    "user_again": "<s>[INST] ",
    "assistant": " [/INST]",
    "end": " </s>",
}
"""`llava_llama_2`, LLaVA's template on LLaMA-2-chat; LISA's training code offers it beside `llava_v1`, which
its published 13B is asked with by default. Source: their code."""

TEMPLATES = {"llava_v1": VICUNA_TEMPLATE, "llava_llama_2": LLAMA2_TEMPLATE, "short": SHORT_TEMPLATE}
"""By the names that the published code gives them."""

_CLOSING = tuple(".,;:!?)]}'\"")
"""Characters that stand against the tag before them where a tokenizer has swallowed the blanks."""


_PHRASE_TAGS = re.compile(
    "(" + "|".join(re.escape(t) for t in (protocol.OBJ_TOKEN, protocol.SEG_TOKEN)) + ")"
)


class GroundedProcessor(ProcessorMixin):
    """Prepares conversations over several images for a grounded model.

    Literal, for two images and three visual tokens each::

        The <image> (IMAGE1) and <image> (IMAGE2) provide an overview of the pictures.
        The <image><image><image> (IMAGE1) and <image><image><image> (IMAGE2) provide an overview ...

    Args:
        tokenizer: the LM's.
        image_streams: name to `ImageStream` fields; `pixel_values_sam` is required.
        num_query_tokens: visual tokens an image, before kept text outputs.
        template: `system`, `user`, `assistant`, `end` pieces of the chat text; `user_again` for the turns
            after the first where it differs from `user`, `answer` before an answer where it is not a blank.
        image_wrap: text before and after each image's tokens (`<im_start>`, `<im_end>` in GLaMM).

    Source: PRIMA section 3.2 (overview sentence, identifiers); template and wrapping GLaMM's code.
    """

    dialect = "prima"
    """Name of the family's way of writing prompts and answers; a key of `segue.protocol.DIALECTS`."""

    image_token = protocol.IMAGE_TOKEN
    """The placeholder as the tokenizer writes it."""

    companions: tuple[str, ...] = ()
    """Names of tensors that `encode_pixels` gives beside its streams."""

    qformer_tokenizer: Any = None
    keep_text_outputs = False
    max_instruction_tokens = 0

    def __init__(
        self,
        tokenizer: Any = None,
        image_streams: dict[str, dict[str, Any]] | None = None,
        num_query_tokens: int = 32,
        template: dict[str, str] | None = None,
        image_wrap: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        self.image_streams = image_streams or {}
        self.num_query_tokens = num_query_tokens
        self.template = template or dict(VICUNA_TEMPLATE)
        self.image_wrap = image_wrap or ["", ""]
        super().__init__(tokenizer, **{k: v for k, v in kwargs.items() if k in self.get_attributes()})
        self.streams = {name: self.stream(name, fields) for name, fields in self.image_streams.items()}

    def stream(self, name: str, fields: dict[str, Any]) -> Any:
        """How the pixels of a stream are made."""
        return ImageStream(**fields)

    @property
    def sam_stream(self) -> ImageStream:
        """The stream in whose square masks are drawn."""
        drawn: ImageStream = self.streams["pixel_values_sam"]
        return drawn

    def encode_pixels(
        self, images: list[Image.Image], names: tuple[str, ...] | None = None
    ) -> dict[str, Tensor]:
        """RGB images to `{stream: [N, 3, S, S]}`."""
        chosen = names if names is not None else tuple(self.streams)
        return {name: torch.stack([self.streams[name](image) for image in images]) for name in chosen}

    def encode_instruction(self, question: str) -> list[int]:
        """The question in the Q-Former's vocabulary, cut to `max_instruction_tokens`."""
        ids = self.qformer_tokenizer(question, add_special_tokens=True)["input_ids"]
        return list(ids[: self.max_instruction_tokens]) or [self.qformer_tokenizer.pad_token_id or 0]

    def encode_turns(
        self, turns: list[tuple[str, str]], num_images: int, add_generation_prompt: bool = False
    ) -> dict[str, list[int]]:
        """Turns to ids and labels; the answers and their end tokens carry labels.

        Args:
            turns: `(role, text)`; user text is escaped, assistant text is markup.
            num_images: how many images the conversation shows.
            add_generation_prompt: end with the assistant's prefix.

        Returns:
            `input_ids`, `labels`, and `qformer_input_ids` where there is a Q-Former. The instruction is the
            first question: the images keep one encoding for the whole conversation (paper silent; ours).

        Raises:
            InputError: no user turn, or a role that is none.
        """
        strange = {role for role, _ in turns} - {"system", "user", "assistant"}
        if strange:
            raise InputError(
                "unknown role",
                expected="system, user or assistant",
                found=", ".join(sorted(strange)),
                where="turns",
                fix="name the roles as in gconv/1 records",
            )
        questions = [text for role, text in turns if role == "user"]
        if not questions:
            raise InputError(
                "nothing to ask",
                expected="at least one user turn",
                found="none",
                where="encode_turns",
                fix="give a question",
            )
        encoded: dict[str, list[int]] = {}
        per_image = self.num_query_tokens
        if self.qformer_tokenizer is not None:
            # The Q-Former reads words; a region is the language model's.
            asked = questions[0]
            if protocol.REGION_TOKEN in asked:
                asked = protocol.parse_question(asked, num_images).text
            encoded["qformer_input_ids"] = self.encode_instruction(asked)
            per_image += len(encoded["qformer_input_ids"]) if self.keep_text_outputs else 0
        text, answers = self.render_chat(turns, num_images, per_image, add_generation_prompt)
        # BOS is put by hand below: whether a tokenizer adds one depends on its files (LLaMA's needs
        # `add_bos_token`), and neither none nor two of them would raise an error.
        batch = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        bos = [self.tokenizer.bos_token_id] if self.tokenizer.bos_token_id is not None else []
        labels = [IGNORE_INDEX] * len(batch["input_ids"])
        for start, end in answers:
            # A token belongs to an answer that it overlaps: the blank before the first word is part of it.
            for i, (left, right) in enumerate(batch["offset_mapping"]):
                if right > start and left < end:
                    labels[i] = batch["input_ids"][i]
        encoded["input_ids"] = bos + list(batch["input_ids"])
        encoded["labels"] = [IGNORE_INDEX] * len(bos) + labels
        return encoded

    def render_chat(
        self,
        turns: list[tuple[str, str]],
        num_images: int,
        tokens_per_image: int,
        add_generation_prompt: bool,
    ) -> tuple[str, list[tuple[int, int]]]:
        """The chat as one string, and the character range of each answer, its end token included."""
        before, after = self.image_wrap
        # Before any user text is there: a question that says `<image>` must not become visual tokens.
        shown = protocol.opening(num_images, self.dialect).replace(
            protocol.IMAGE_TOKEN, before + self.image_token * tokens_per_image + after
        )
        again = self.template.get("user_again", self.template["user"])
        text, answers, first = self.template["system"], [], True
        for role, content in turns:
            if role == "user":
                text += self.template["user"] + shown if first else again
                text += protocol.escape_user_text(content)
                first = False
            elif role == "assistant":
                text += self.template["assistant"]
                # Behind the colon: of ` ASSISTANT: A cat.</s>` the answer, which has the loss, is ` A
                # cat.</s>`.
                start = len(text)
                text += self.template.get("answer", " ") + content + self.template["end"]
                answers.append((start, len(text)))
        if add_generation_prompt:
            text += self.template["assistant"]
        return text, answers

    def hidden_tokens(self, hws: Sequence[tuple[int | None, int | None]]) -> int:
        """Tokens of images that `encode_turns` does not write out, because the model repeats a placeholder.

        Args:
            hws: Height and width of each image, None where unknown.
        """
        return 0

    def prompt_length(self, inputs: Mapping[str, Any]) -> int:
        """Tokens of one conversation as the language model reads it.

        Args:
            inputs: `input_ids` as ids or `[1, L]`, with the images' features or pixels.
        """
        ids = inputs["input_ids"]
        return int(ids.shape[1]) if isinstance(ids, Tensor) else len(ids)

    def __call__(
        self,
        images: list[Image.Image] | None = None,
        turns: list[tuple[str, str]] | None = None,
        add_generation_prompt: bool = True,
        **kwargs: Any,
    ) -> BatchFeature:
        """One conversation as tensors, ready for `generate_grounded` or `forward`.

        Args:
            images: RGB images.
            turns: `(role, text)` in order.

        Returns:
            `input_ids`, `attention_mask`, `labels` `[1, L]`, `num_images` `[1]`, pixel streams `[N, 3, S,
            S]`, `original_hw` and `resized_hw` `[N, 2]`, and the Q-Former's ids and mask.
        """
        images = images or []
        item: dict[str, Any] = dict(self.encode_turns(turns or [], len(images), add_generation_prompt))
        item |= self.encode_pixels(images)
        hws = [(image.height, image.width) for image in images]
        item["original_hw"] = torch.tensor(hws)
        item["resized_hw"] = torch.tensor([self.sam_stream.resized_hw(hw) for hw in hws])
        item["num_images"] = len(images)
        return self.collate([item])

    def read_marks(self, count: int) -> dict[str, Any]:
        """Arguments of `encode_turns` by which so many `<region>` are regions; those of others always are."""
        return {}

    def question_notes(self, question: str) -> list[str]:
        """What a reader of the answer to a question should know beforehand, in sentences; here nothing."""
        return []

    def collate(self, items: list[dict[str, Any]]) -> BatchFeature:
        """Items of one conversation each to a right-padded batch; images are concatenated in order."""
        pad = self.tokenizer.pad_token_id or 0
        data: dict[str, Any] = {
            "input_ids": pad_right([i["input_ids"] for i in items], pad),
            "attention_mask": pad_right([[1] * len(i["input_ids"]) for i in items], 0),
            "labels": pad_right([i["labels"] for i in items], IGNORE_INDEX),
            "num_images": torch.tensor([i["num_images"] for i in items]),
        }
        if self.qformer_tokenizer is not None:
            ids = [i["qformer_input_ids"] for i in items]
            data["qformer_input_ids"] = pad_right(ids, self.qformer_tokenizer.pad_token_id or 0)
            data["qformer_attention_mask"] = pad_right([[1] * len(i) for i in ids], 0)
        # Features that a model kept of its images stand in the place of pixels, under names of its own.
        kept = [name for name in items[0] if name.endswith("_features")]
        for name in (*self.streams, *self.companions, *kept, "original_hw", "resized_hw"):
            if name in items[0]:
                data[name] = torch.cat([i[name] for i in items])
        if "seg_image_index" in items[0]:
            # Images of all conversations are counted on: image 0 of the second one follows the first's last.
            offsets = np.cumsum([0] + [i["num_images"] for i in items])
            data["seg_image_index"] = torch.cat(
                [
                    # Conversations of 2 and 3 images: [1] and [0, 2] become [1, 2, 4]. The last offset, the
                    # total, belongs to no item, hence strict=False.
                    torch.as_tensor(i["seg_image_index"], dtype=torch.long) + int(o)
                    for i, o in zip(items, offsets, strict=False)
                ]
            )
        if "region_image_index" in items[0]:
            offsets = np.cumsum([0] + [i["num_images"] for i in items])
            data["region_masks"] = torch.cat([i["region_masks"] for i in items])
            data["region_image_index"] = torch.cat(
                [i["region_image_index"] + int(o) for i, o in zip(items, offsets, strict=False)]
            )
        if "mask_labels" in items[0]:
            data["mask_labels"] = [masks for i in items for masks in i["mask_labels"]]
        return BatchFeature(data)

    def decode_markup(self, token_ids: Tensor | list[int]) -> str:
        """Generated ids `[T]` to markup, end token removed, spaces before tags restored."""
        ids = token_ids.tolist() if isinstance(token_ids, Tensor) else list(token_ids)
        skipped = {self.tokenizer.eos_token_id, self.tokenizer.bos_token_id, self.tokenizer.pad_token_id}
        added = self.tokenizer.added_tokens_decoder
        # Runs of ordinary tokens are decoded together, because pieces of one character may be several tokens;
        # added tokens take the blanks beside them with them (lstrip, rstrip), which are put back here.
        text, run, swallowed = "", [], False
        # `it is`, ` [SEG]`, ` here` -> `it is [SEG] here`; before a full stop no blank: `it is [SEG].` None
        # ends the last run.
        for token in [*ids, None]:
            if token is not None and token not in added:
                run.append(token)
                continue
            if run:
                words = self.tokenizer.decode(run, clean_up_tokenization_spaces=False)
                text += (" " if swallowed and words and words[0] not in _CLOSING else "") + words
                run = []
            if token is not None and token not in skipped:
                text += (" " if added[token].lstrip else "") + added[token].content
                swallowed = added[token].rstrip
        return text.strip()

    def enlarge(self, mask_logits: Tensor, inside: tuple[int, int], outside: tuple[int, int]) -> Tensor:
        """Logits `[K, h, w]` over the segmenter's square to `[K, H, W]` of a photograph.

        Args:
            mask_logits: of K masks in one photograph.
            inside: its height and width within the square.
            outside: its height and width.
        """
        stream = self.sam_stream
        return resize_logits(mask_logits, inside, outside, stream.size, centred=stream.centred)

    def post_process_masks(
        self, mask_logits: Tensor, image_index: list[int], original_hw: Tensor, resized_hw: Tensor
    ) -> list[tuple[np.ndarray, float]]:
        """Logits to masks at the photographs' sizes, each with its score.

        Args:
            mask_logits: `[K, h, w]` on the decoder's grid.
            image_index: K image indices.
            original_hw: `[N, 2]`.
            resized_hw: `[N, 2]`.

        Returns:
            K pairs: bool `[H, W]` (logit > 0) and the mean foreground probability (0 for an empty mask).

        Source: SAM's post-processing; the score is ours.
        """
        if len(mask_logits) != len(image_index):
            raise AlignmentError(
                "masks and image indices do not match",
                expected=str(len(mask_logits)),
                found=str(len(image_index)),
                where="post_process_masks",
                fix="address every mask",
            )
        results = []
        for logits, index in zip(mask_logits, image_index, strict=True):
            inside, outside = tuple(resized_hw[index].tolist()), tuple(original_hw[index].tolist())
            full = self.enlarge(logits[None], inside, outside)[0]
            # A logit of 0 is a probability of one half.
            mask = full > 0
            score = float(full[mask].sigmoid().mean()) if bool(mask.any()) else 0.0
            results.append((mask.cpu().numpy(), score))
        return results


class PrimaProcessor(GroundedProcessor):
    """Processor of the PRIMA family: the question is also given to the Q-Former.

    Args:
        tokenizer: the LM's.
        qformer_tokenizer: the Q-Former's own.
        image_streams, num_query_tokens, template, image_wrap: see `GroundedProcessor`.
        keep_text_outputs: the instruction's tokens become visual tokens too.
        max_instruction_tokens: the Q-Former reads at most so many tokens of the question.
    """

    def __init__(
        self,
        tokenizer: Any = None,
        qformer_tokenizer: Any = None,
        image_streams: dict[str, dict[str, Any]] | None = None,
        num_query_tokens: int = 32,
        keep_text_outputs: bool = True,
        template: dict[str, str] | None = None,
        image_wrap: list[str] | None = None,
        max_instruction_tokens: int = 64,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            tokenizer,
            image_streams,
            num_query_tokens,
            template,
            image_wrap,
            qformer_tokenizer=qformer_tokenizer,
            **kwargs,
        )
        self.keep_text_outputs = keep_text_outputs
        self.max_instruction_tokens = max_instruction_tokens


class LisaProcessor(GroundedProcessor):
    """Processor of LISA: one picture without a sentence about it, as published; several as in PRIMA."""

    dialect = "lisa"


class GlammProcessor(GroundedProcessor):
    """Processor of GLaMM: one picture under GLaMM's own sentence; several as in PRIMA."""

    dialect = "glamm"


class MirasProcessor(GroundedProcessor):
    """Processor of MIRAS: phrases as `[OBJ]red mug[SEG]`; several pictures as in PRIMA."""

    dialect = "miras"

    def decode_markup(self, token_ids: Tensor | list[int]) -> str:
        """Ids `[T]` to markup in which a phrase touches its tags: blanks there are the tokenizer's."""
        pieces = _PHRASE_TAGS.split(super().decode_markup(token_ids))
        # Tags stand at odd places: `a [OBJ] red mug [SEG].` -> `a [OBJ]red mug[SEG].`
        for place in range(2, len(pieces), 2):
            if pieces[place - 1] == protocol.OBJ_TOKEN:
                pieces[place] = pieces[place].lstrip(" ")
                if pieces[place + 1 : place + 2] == [protocol.SEG_TOKEN]:
                    pieces[place] = pieces[place].rstrip(" ")
        return "".join(pieces)


def pad_right(rows: list[list[int]], value: int) -> Tensor:
    """Rows of ids to `[B, L]`, shorter rows filled with `value` on the right."""
    longest = max(len(row) for row in rows)
    return torch.tensor([row + [value] * (longest - len(row)) for row in rows], dtype=torch.long)
