"""What is known: variants, measurements, store, statistics, archive, selection, lineage."""
