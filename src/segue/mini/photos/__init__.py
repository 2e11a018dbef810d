"""Real photographs of dressed persons: facts, questions and records."""
