"""What decides what runs: rows and decisions in, runs and decisions out; no thread, store or clock."""
