"""From a name to a folder with checked weights: presets, the hub, pickles rewritten, and loading without gaps."""
