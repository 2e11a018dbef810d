"""PRIST: conversations about one image whose target becomes clear over turns.

Three ways to them: the released file (`released`), a chat model that goes from elements over a reasoning tree
to dialogues (`build`), and rules over annotated images that do the same offline (`offline`).

Source: MIRAS and PRIST (arXiv 2502.09447).
"""
