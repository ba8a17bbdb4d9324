"""Modules of packages that are not installed are not collected for their doctests."""

from importlib.util import find_spec

FILES = {
    "numba": ["refiners/compiled_field.py", "refiners/compiled_lattice.py", "refiners/rows.py"],
    "gradio": ["web/page.py", "web/server.py"],
    "autodistill": ["integrations/autodistill.py"],
    "cvat_sdk": ["integrations/cvat.py"],
    "fiftyone": ["integrations/fiftyone.py"],
}
collect_ignore = [
    f"src/pnp_ovss/{file}" for package, files in FILES.items() if not find_spec(package) for file in files
]
