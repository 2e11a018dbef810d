"""M4SEG: multi-image questions and answers with masks of objects and parts, built from annotated images.

Source: PRIMA (arXiv 2412.15209) sec. 4 and app. A.
"""
