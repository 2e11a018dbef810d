"""The embedded model from its two halves: one that talks about findings, and one that finds.

python -m segue.mini.assemble --talk runs/mini/talk/final --look runs/mini/look/final --out runs/mini/whole
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segue import protocol
from segue.mini.talk.kinds import Kinds, known_kinds
from segue.models.mini.embedded import EmbeddedConfig, EmbeddedModel
from segue.models.mini.findings import MOST_FINDINGS, finding_vocabulary
from segue.models.mini.picture import STREAM
from segue.models.mini.presets_mini import MINI_COLOURS
from segue.models.mini.seeing import SeeingModel
from segue.models.mini.spelled_findings import NOTHING, FindingSpeller
from segue.models.mini.talking import TalkingModel, TalkingProcessor


def assemble(
    talking: TalkingModel, processor: TalkingProcessor, seeing: SeeingModel, kinds: Kinds | None = None
) -> tuple[EmbeddedModel, TalkingProcessor]:
    """One model of both halves.

    Args:
        talking: trained by stage "talk".
        processor: its processor.
        seeing: trained by stage "look".
        kinds: the names.
    """
    kinds = kinds or known_kinds()
    spell = FindingSpeller(processor.tokenizer)
    fields: dict[str, Any] = {k: v for k, v in talking.config.to_dict().items() if k != "model_type"}
    config = EmbeddedConfig(
        **fields
        | {
            "left_out": list(seeing.config.left_out),
            "word_ids": spelled_words(spell, kinds),
            "phrase_names": phrase_names(spell, kinds),
            "phrase_end_token_id": processor.tokenizer.convert_tokens_to_ids(protocol.PHRASE_END),
        }
    )
    model = EmbeddedModel(config).eval()
    model.load_state_dict(talking.state_dict(), strict=False)
    model.seeing.load_state_dict(seeing.seeing.state_dict())
    whole = TalkingProcessor(
        processor.tokenizer,
        image_streams={"pixel_values_sam": STREAM},
        num_query_tokens=MOST_FINDINGS + config.num_free_tokens,
        template=processor.template,
    )
    return model, whole


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the whole model."""
    parser = argparse.ArgumentParser(description="Join the halves of the embedded model.")
    parser.add_argument("--talk", type=Path, required=True, help="final folder of stage talk")
    parser.add_argument("--look", type=Path, required=True, help="final folder of stage look")
    parser.add_argument("--out", type=Path, required=True, help="folder of the whole model")
    options = parser.parse_args(arguments)
    model, processor = assemble(
        TalkingModel.from_pretrained(options.talk),
        TalkingProcessor.from_pretrained(options.talk),
        SeeingModel.from_pretrained(options.look),
    )
    model.save_pretrained(options.out)
    processor.save_pretrained(options.out)


def spelled_words(spell: FindingSpeller, kinds: Kinds) -> dict[str, list[int]]:
    """Ids of all names and of all words that are said of findings."""
    words = (*kinds.names, *finding_vocabulary(), *MINI_COLOURS, NOTHING)
    return {word: spell.word(word) for word in words}


def phrase_names(spell: FindingSpeller, kinds: Kinds) -> dict[str, str]:
    """Ids of every form of every name, joined by blanks, to the name."""
    found: dict[str, str] = {}
    for name in kinds.names:
        for form in (name, *kinds.forms(name)):
            found.setdefault(" ".join(map(str, spell.word(form))), name)
    return found


if __name__ == "__main__":
    main()
