"""The landscape that no table holds: our own train.py, trained and scored for real, over its knobs."""
