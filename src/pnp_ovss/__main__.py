"""`python -m pnp_ovss`: the command line."""

from pnp_ovss.cli.main import main

main()
