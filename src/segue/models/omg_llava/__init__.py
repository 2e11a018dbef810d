"""OMG-LLaVA behind the two seams: its perception, visual tokens, mask decoder and visual prompts."""
