"""PRIST's kind of dialogue by rule, from annotated images alone: right by construction, and without a model.

`facts` says what may be stated about a picture, `clues` how a set of things narrows down to one, `talk` words
a dialogue around that, and `build` writes records with the same trees as the pipeline with a chat model.
"""
