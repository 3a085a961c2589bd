"""Talking to language models: settings, the budget's door, and the one client."""
