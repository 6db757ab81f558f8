"""Peak memory: an in-place update allocates nothing, expressions allocate temporaries. "nothing" is the baseline."""

from fastreg_bench import cases

from .workload import peers, prepared

RULES = ["elastic_net-proximal", "Adam:l2-decoupled"]
# Others compile at run time, and a compiler needs more memory than the update.
WITHOUT_COMPILERS = ["fastreg", "reference", "NumPy", "NumPy out=", "numexpr", "torch"]


class Peak:
    """Peak memory of a process with one update of 10⁷ float64 weights, with its arrays: 160 MB for the first rule."""

    params = [RULES, ["nothing", *WITHOUT_COMPILERS]]
    param_names = ["rule", "implementation"]

    def setup(self, rule, implementation):
        case = cases.Case.named(rule)
        arrays = cases.workload(case, 10_000_000, "float64")
        self.step = arrays.clear if implementation == "nothing" else None
        if self.step is None:
            self.step = peers.function(prepared(implementation, case, "float64", arrays))

    def peakmem_update(self, rule, implementation):
        self.step()
