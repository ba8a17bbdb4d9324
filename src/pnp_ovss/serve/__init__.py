"""A service (`pnp-ovss serve`): a photo and names in, masks out; and Label Studio's ML backend. Needs the extra `serve`."""
