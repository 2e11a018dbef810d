"""The talking half of the embedded model: conversations over lists of findings."""
