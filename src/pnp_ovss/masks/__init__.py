"""Masks as arrays: COCO's run lengths, polygons to masks and back, label maps resized and counted."""
