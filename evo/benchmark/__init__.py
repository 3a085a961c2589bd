"""The tournament: ours against the classical optimisers, judged by the true value of what each recommends."""
