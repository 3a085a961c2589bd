"""What carries decisions out: threads, the store, signals, and what people ask for."""
