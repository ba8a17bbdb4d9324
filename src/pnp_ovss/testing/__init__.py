"""Contracts and stand-ins for those who write adapters and refiners, and for our own tests."""
