"""Finetuning of any model on own data."""
