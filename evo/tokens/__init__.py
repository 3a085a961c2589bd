"""Tokens: text made into shards of token numbers, and what is known of such shards."""
