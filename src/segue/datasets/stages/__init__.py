"""Stages of a data pipeline: resumable, hashed, in shards."""
