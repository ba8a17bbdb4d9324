"""The browser page (`pnp-ovss web`): a front of the library, without logic of its own. Needs the extra `web`."""
