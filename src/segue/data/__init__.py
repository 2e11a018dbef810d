"""Data: annotated photographs, procedural scenes, and the conversations made from them."""
