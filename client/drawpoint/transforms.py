"""Augmentations of samples: `SampleDataset(..., augment=[Rotate((-5, 5)), Mirror("y", probability=0.5)])`."""

from drawpoint.training.transforms import Augmentation, Compose, Mirror, Rotate, Scale, Similarity, Translate

__all__ = ["Augmentation", "Compose", "Mirror", "Rotate", "Scale", "Similarity", "Translate"]
