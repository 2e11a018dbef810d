"""The papers' data sets, M4SEG and PRIST: generation, stages, previews, statistics."""
