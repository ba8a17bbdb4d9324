"""Adapters: each answers what a layer and head attended to for an image and a prompt, and with what gradient."""
