"""The asv suite. One thread everywhere, asked for before any library is loaded; threads.py is about more.

asv runs these files, as they are in the checkout, against the fastreg of each commit. The peers, the sizes and the
clock stand in fastreg/bench/ beside them, and must be those of the checkout too: an older commit has others, or none.
So that package is loaded by its path and under a name of its own; it imports fastreg, the measured one, only inside
functions.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

NAME = "fastreg_bench"

if NAME not in sys.modules:
    folder = Path(__file__).resolve().parents[2] / "fastreg" / "bench"
    spec = spec_from_file_location(NAME, folder / "__init__.py", submodule_search_locations=[str(folder)])
    sys.modules[NAME] = module_from_spec(spec)
    spec.loader.exec_module(sys.modules[NAME])

from fastreg_bench import machine  # noqa: E402

machine.single_thread()
