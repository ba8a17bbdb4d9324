"""Adapters for the tools in which people keep, label and train on photos; each needs its tool's own package."""
