"""Open-vocabulary semantic segmentation from off-the-shelf vision-language models."""
