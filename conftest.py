"""Modules of extras that are not installed are not collected for their doctests."""

from importlib.util import find_spec

collect_ignore = [] if find_spec("gradio") else ["src/pnp_ovss/web/page.py", "src/pnp_ovss/web/server.py"]
