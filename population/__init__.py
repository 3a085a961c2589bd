"""What is known: variants, measurements, the store, statistics, the archive, selection and lineage."""
