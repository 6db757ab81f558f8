"""The asv suite. All libraries are limited to one thread before they are imported; only threads.py uses more.

asv runs the files of this checkout with the fastreg of each commit. The peers, the sizes and the timing are in
fastreg/bench/ of this checkout, because an older commit has others or none. Therefore that package is loaded by its
path and under another name. It imports fastreg, the measured one, only inside functions.
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
