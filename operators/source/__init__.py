"""Reading and changing a variant's source without disturbing what stays: knobs, edits, merges."""
