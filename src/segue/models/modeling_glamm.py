"""GLaMM: LISA's frame with a larger picture and a two-layer projection; without the region encoder."""

from __future__ import annotations

from segue.models.configuration_lisa import GlammConfig
from segue.models.modeling_lisa import LisaModel


class GlammModel(LisaModel):
    """GLaMM for grounded conversations over one or more images; what differs from LISA is configuration.

    Source: GLaMM's code; several images as in PRIMA section 5 (an identifier after every `[SEG]`).
    """

    config_class = GlammConfig
