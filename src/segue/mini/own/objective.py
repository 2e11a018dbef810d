"""A step of both halves on own data: photographs for a branch of the eyes, lists of findings for words."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from segue.mini.look.objective import LookObjective
from segue.mini.look.photographs import Photograph
from segue.mini.own.calibration import Held, calibrate_branch
from segue.mini.own.mirror import can_be_mirrored, mirrored
from segue.mini.talk.objective import TalkObjective
from segue.models.mini.eyes import Branch, Eyes
from segue.training.finetune.skips import SkipJournal

LOOK_TERMS = frozenset({"cells", "presence", "centres", "areas", "bce", "dice", "quality"})
TALK_TERMS = frozenset({"text", "seg"})


class OwnLook(LookObjective):
    """Batches of own photographs for the last branch; see `LookObjective`."""

    def learner(self, model: Any) -> Branch:
        """Readout and decoder that learn."""
        branch = model.seeing.eyes.branches[-1]
        assert isinstance(branch, Branch)
        return branch

    def may_mirror(self, photograph: Photograph) -> bool:
        """Whether the data have names for all that the mirror image shows."""
        return can_be_mirrored(photograph, self.trained)

    def seen(self, photograph: Photograph, flipped: bool) -> Photograph:
        """What a photograph shows, mirrored or not."""
        return mirrored(photograph) if flipped else photograph


class OwnObjective:
    """Photographs and lists of own data, a batch of each a step.

    The halves share no weights, and what they share in words is settled before: so they learn side by side.

    Args:
        look: of the seeing half.
        talk: of the talking half.
        journal: of images that could not be used.
        eyes: of the model, whose last branch learns.

    Source: paper silent; ours.
    """

    loss_terms = LOOK_TERMS | TALK_TERMS

    def __init__(self, look: OwnLook, talk: TalkObjective, journal: SkipJournal, eyes: Eyes) -> None:
        self.look, self.talk, self.journal = look, talk, journal
        self.branch = len(eyes.branches) - 1
        learns = f"branches.{self.branch}."
        # Training in bfloat16 rounds what is frozen.
        self.known = {n: p.detach().clone() for n, p in eyes.named_parameters() if not n.startswith(learns)}

    @property
    def trainable(self) -> tuple[str, ...]:
        """Prefixes of what trains."""
        return (f"seeing.eyes.branches.{self.branch}.", *self.talk.trainable)

    def batch(self, step: int) -> dict[str, Any]:
        """A batch of each half; depends on the step alone."""
        return {"look": self.look.batch(step), "talk": self.talk.batch(step)}

    def loss(self, model: Any, batch: dict[str, Any]) -> tuple[Tensor, dict[str, float]]:
        """The sum of both losses, and the readings of both."""
        seen, read = self.look.loss(model, batch["look"])
        said, heard = self.talk.loss(model, batch["talk"])
        return seen + said, read | heard

    def settle(self, model: Any) -> None:
        """Make the branch's presence what the readout of now makes it: the model can be asked after this.

        What was known before gets the very weights that it had.
        """
        training = model.training
        for name, parameter in model.seeing.eyes.named_parameters():
            if name in self.known:
                parameter.data = self.known[name].to(parameter.device)
        model.eval()
        with torch.no_grad():
            calibrate_branch(model.seeing.eyes, self.held())
        model.train(training)

    def held(self) -> list[Held]:
        """Photographs that are not learned from, by shelf."""
        step = self.look.held_back
        return [
            Held(shelf, list(range(0, len(shelf.photographs), step)) if step else [])
            for shelf in self.look.shelves
        ]
