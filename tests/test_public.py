"""What `import pnp_ovss` promises."""

import subprocess
import sys

import pytest

import pnp_ovss


def test_a_star_gives_the_public_names_and_each_says_what_it_is():
    names = {}
    exec("from pnp_ovss import *", names)
    names.pop("__builtins__")
    assert set(names) == set(pnp_ovss.__all__) <= set(dir(pnp_ovss))
    for name, value in names.items():
        if callable(value) and not isinstance(value, type(list[int])):
            assert len((value.__doc__ or "").split()) > 3, name
            assert not (value.__doc__ or "").startswith(f"{name}("), f"{name}: only what dataclass wrote"


def test_unknown_names_say_what_there_is():
    with pytest.raises(AttributeError, match=r"it has .*Segmenter"):
        _ = pnp_ovss.Segmentor


@pytest.mark.parametrize(
    "code",
    [
        "import pnp_ovss",
        "from pnp_ovss import list_presets; list_presets()",
        "import pnp_ovss.cli.main",
        "import sys; sys.argv = ['pnp-ovss', '--help']\ntry: from pnp_ovss.cli.main import main; main()\n"
        "except SystemExit: pass",
        "import sys; sys.argv = ['pnp-ovss', 'segment', '--help']\n"
        "try: from pnp_ovss.cli.main import main; main()\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_before_it_is_needed(code):
    heavy = ("torch", "transformers", "scipy", "gradio", "ray", "rich.markdown")
    check = f"\nimport sys; print('HEAVY', sorted(set({heavy}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code + check], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
