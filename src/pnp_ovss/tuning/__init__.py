"""Choosing layer, head, threshold and blur without mask labels (§3.4)."""
