"""Questions and answers over several images by rule, from the annotations alone: offline and right by design.

Nothing is said that names, numbers and boxes do not say. Records made this way carry `generator: "template"`;
they are not the paper's data, which a chat model wrote.
"""

from segue.datasets.m4seg.template.write import template_pairs

__all__ = ["template_pairs"]
