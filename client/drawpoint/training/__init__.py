"""Training on draws: datasets, loaders and samplers of torch, normalisation, reading ahead."""
