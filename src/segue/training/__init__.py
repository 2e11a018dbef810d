"""Training: recipes, what of a family trains, the engine and finetuning on own data."""
