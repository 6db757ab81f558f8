"""Peak memory: an update in place allocates nothing, expressions allocate their temporaries. "nothing" is the base."""

from fastreg_bench import cases

from .workload import peers, prepared

RULES = ["elastic_net-proximal", "Adam:l2-decoupled"]
WITHOUT_COMPILERS = ["fastreg", "reference", "NumPy", "NumPy out=", "numexpr", "torch"]  # those swamp what they compile


class Peak:
    """Of a process that does one update of 10⁷ weights in float64, arrays included: 160 MB for the first rule."""

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
