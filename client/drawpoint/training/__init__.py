"""Training with torch: datasets, resumable loading, normalisation, cost estimates, reading ahead."""
