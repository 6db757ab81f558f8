"""Settings of the documentation site. Its pages need no network, neither to be built nor to be read."""

import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

import torch_stand_in

torch_stand_in.install()  # classes of fastreg.torch are documented whether or not torch is installed

import fastreg

project = "fastreg"
author = "The fastreg developers"
copyright = "The fastreg developers"
version = release = fastreg.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.mathjax", "numpydoc", "public", "pxd"]
exclude_patterns = ["_ext"]

# -- Pages ------------------------------------------------------------------------------------------------------------

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist", "dollarmath", "fieldlist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Notebooks are the pages with {code-cell}s. They run at each build, so that no picture is older than the code.
nb_execution_mode = "force"
nb_execution_timeout = 60
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_merge_streams = True
nb_ipywidgets_js = {}  # from a CDN otherwise

# An IPython profile of their own: that of a user may run other code. A kernel warns that it has a port of this machine.
profile = tempfile.TemporaryDirectory()
(Path(profile.name) / "profile_default").mkdir()
(Path(profile.name) / "profile_default" / "ipython_kernel_config.py").write_text("c.IPKernelApp.log_level = 40\n")
os.environ["IPYTHONDIR"] = profile.name

# -- The reference ----------------------------------------------------------------------------------------------------

nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(numpy|scipy|sklearn|torch|matplotlib|joblib)\..*")]  # their sites are elsewhere
default_role = "code"  # `name` in docstrings
autodoc_typehints = "none"  # the docstrings say the types
numpydoc_show_class_members = False  # fastreg's own members are listed by the directive `public`
numpydoc_xref_param_type = False
add_module_names = True
toc_object_entries_show_parents = "hide"

# -- HTML -------------------------------------------------------------------------------------------------------------

html_theme = "furo"
html_title = f"fastreg {release}"
mathjax = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax" / "tex-svg.js"  # has its fonts
html_static_path = ["_static", str(mathjax)]
mathjax_path = mathjax.name
html_css_files = ["site.css"]
html_domain_indices = False  # the reference names its modules
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": False}
