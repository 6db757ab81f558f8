"""Layer 5: strengths of other libraries in the one convention of this package, l1·‖w‖₁ + l2/2·‖w‖₂² + l21·Σ_g ‖w_g‖₂.

Here the penalty is added to the mean loss, and its gradient is l1·sign(w) + l2·w. Libraries differ from this in four
places: whether L2 has the factor ½, whether the losses are averaged or summed, whether the squared loss has the factor
½, and whether the norm of a group has a weight such as the root of its size. Each function says what its library does.
The functions return numbers rather than optimizers, since the same numbers serve every update, mode and optimizer.
There is one function for each convention, rather than one with the name of a library as argument, so that the arguments
keep the names that they have there. One file for each family of penalties or libraries; standard library only.
"""

from fastreg.convert.elastic_net import from_glmnet, from_vowpal_wabbit
from fastreg.convert.frameworks import from_keras, from_keras_ftrl, from_torch
from fastreg.convert.groups import from_adelie, from_group_lasso, from_grpreg, from_sgl, from_skglm_groups
from fastreg.convert.mcp import from_ncvreg, from_skglm_mcp
from fastreg.convert.sklearn import from_sklearn, from_sklearn_c, from_sklearn_multitask, from_sklearn_ridge
from fastreg.convert.strengths import BoundedStrengths, GroupStrengths, MCPStrengths, Strengths

__all__ = [
    "BoundedStrengths", "GroupStrengths", "MCPStrengths", "Strengths", "from_adelie", "from_glmnet", "from_group_lasso",
    "from_grpreg", "from_keras", "from_keras_ftrl", "from_ncvreg", "from_sgl", "from_skglm_groups", "from_skglm_mcp",
    "from_sklearn", "from_sklearn_c", "from_sklearn_multitask", "from_sklearn_ridge", "from_torch",
    "from_vowpal_wabbit",
]  # fmt: skip
