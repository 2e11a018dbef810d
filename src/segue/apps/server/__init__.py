"""`segue serve`: the same session behind OpenAI's chat completions, streaming and not."""
