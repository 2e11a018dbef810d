"""The talking half of the embedded model: conversations over drawn-up lists of findings, and what learns them."""
