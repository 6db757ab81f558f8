# Between layers 3 and 4: what the boundary passes to the kernels of an instruction set, and the table of entry points
# that it calls. The table comes in a capsule, so that no Python class belongs to an instruction set.
#
# Names become codes, and tuples of the reference become these structs, in _boundary/codes.pyx and nowhere else.

from fastreg.losses cimport Loss
from fastreg.structs cimport *

cdef extern from *:
    """
    #define FASTREG_CAPSULE "fastreg.kernels"
    #if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__) || defined(_M_FP_FAST) \\
        || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) || defined(__NO_SIGNED_ZEROS__)
      #error "fastreg: -ffast-math, /fp:fast or a part of it is on; remove it: results would differ from the reference"
    #endif
    #if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
      #error "fastreg: float arithmetic has excess precision (x87?); use -msse2 -mfpmath=sse"
    #endif
    """
    const char* CAPSULE "FASTREG_CAPSULE"

cdef enum DType:
    FLOAT32
    FLOAT64
    BFLOAT16  # of weights and gradients; arithmetic, state and factors are float32


# -- Dense updates ----------------------------------------------------------------------------------------------------

cdef enum DirectionCode:  # the order of reference.DIRECTIONS
    PLAIN
    MOMENTUM
    NESTEROV
    ADAGRAD
    RMSPROP
    ADAM
    AMSGRAD
    LION
    FTRL_PROXIMAL

cdef union AnyDirection:
    Plain plain
    Momentum momentum
    Nesterov nesterov
    Adagrad adagrad
    RMSprop rmsprop
    Adam adam
    AMSGrad amsgrad
    Lion lion
    FTRL ftrl

cdef enum ModeCode:  # the order of reference.MODES
    SUBGRADIENT
    DECOUPLED
    TRUNCATED
    PROXIMAL

cdef enum PenaltyCode:  # the order of reference.PENALTIES
    ELASTIC_NET
    MCP_PENALTY

cdef union AnyPenalty:
    ElasticNet elastic_net
    MCP mcp

cdef struct WithSums:   # of the kernels' own: how a step adds up what groups need; see group_steps.pxi
    Py_ssize_t lines        # of the task's n coordinates each
    Py_ssize_t pitch        # from line to line
    Py_ssize_t ahead        # from coordinates to those whose gradients are prefetched meanwhile; 0 for none
    bint are_groups         # whether a line belongs to one group, or each of its coordinates to its own
    double* sums            # by lane, or by coordinate; then the second sum, and so on, sums_pitch apart
    Py_ssize_t sums_pitch
    double* totals          # by line, if each is a whole group: its lanes are added, and here they are put
    const void* low         # bounds of the task; NULL for none
    const void* high
    Py_ssize_t bound_step
    void* h                 # gets the metric, unless it is even; then:
    bint shrinks            # whether each line is shrunk, as a whole group, together with the step of the next one
    double even             # its metric
    double l21

cdef struct Task:  # one update of one tensor
    DType dtype
    DirectionCode direction
    ModeCode mode
    PenaltyCode penalty
    AnyDirection d
    AnyPenalty p
    double theta
    double l21           # of the groups; 0 for no group lasso, and then the four numbers below do not matter
    Py_ssize_t outer     # the tensor lies in memory as outer × groups × inner
    Py_ssize_t groups
    Py_ssize_t inner
    Py_ssize_t pitch     # from one outer index to the next, in coordinates: groups·inner of the whole tensor
    Py_ssize_t n
    void* w
    const void* g  # NULL to leave out the tensor
    void* a        # the state; NULL where there is none
    void* b
    void* c
    const void* f  # factors; NULL for none
    const void* low         # bounds; NULL for none
    const void* high
    Py_ssize_t bound_step   # 1, or 0 where all coordinates have the same bounds
    const WithSums* sums    # NULL for a step without them
    FTRL built_on           # what z is built on, if that is not d; lr is 0 if it is, and for other directions

cdef struct Powers:  # what bias corrections depend on
    double power1  # beta1ᵗ and beta2ᵗ, as running products: the bits of pow differ between machines
    double power2
    bint corrects  # whether the direction depends on them


# -- Lazy updates -----------------------------------------------------------------------------------------------------

cdef enum IndexType:
    INT32
    INT64

ctypedef fused index:  # the types of INT32 and INT64
    int
    long long

cdef struct Indices:
    IndexType type
    const void* data

cdef struct Rows:  # a matrix of weights under gradients that have few rows; a vector is a matrix of width 1
    DType dtype              # FLOAT32 or FLOAT64
    DirectionCode direction  # PLAIN, ADAGRAD or FTRL_PROXIMAL
    ModeCode mode            # PROXIMAL or TRUNCATED
    AnyDirection d           # of the last step, and so is p
    ElasticNet p
    double l21               # of the last step: each row is a group; 0 where they are one weight wide
    double built_on          # the lr that z of FTRL is built on until the first step with lr > 0; 0 for none
    Py_ssize_t rows
    Py_ssize_t width
    Py_ssize_t pitch         # from row to row of w, a and b, in elements: width, or more where they lie together
    void* w
    void* a
    void* b
    const void* f
    bint in_units            # whether l2 is multiplied by the squares of factors: see penalty_at
    char* stamps             # by row: for PLAIN a Stamp, for ADAGRAD the steps, as long long; none for FTRL
    Py_ssize_t stamp_pitch   # in bytes
    double gamma             # of MCP; infinite for none
    double low               # bounds, which contain 0; infinite for none
    double high
    bint inside              # whether all weights are known to lie within them
    Clock clock              # for PLAIN
    long long steps

cdef struct Batch:  # sparse gradients or samples in compressed rows (CSR)
    Py_ssize_t count           # of gradients or samples
    Indices indices
    const Py_ssize_t* starts   # count + 1 positions in indices and data
    const void* data
    bint shared                # all have the same indices: dense samples

cdef struct Numbers:  # one for each step
    const double* data         # NULL for none
    Py_ssize_t stride          # 1, or 0 where all steps have the same

cdef struct Schedule:  # the strengths of each step
    Numbers lr
    Numbers l1
    Numbers l2
    Numbers l21

cdef struct Merging:  # memory for gradients in which a row comes more than once; places is NULL where none does
    Py_ssize_t* places         # by row, where it is in `rows`; -1 between two gradients
    long long* rows            # each row once
    void* sums                 # and the sum of its values

cdef enum:
    MARGIN_LANES = 8    # a margin is added up in so many sums
    PENDING_LOSSES = 16  # log losses that are computed together

cdef struct Ahead:  # rows that are prefetched, some at a time
    Indices rows
    Py_ssize_t next
    Py_ssize_t stop

cdef struct Learning:  # what an epoch of a linear model needs beside the samples
    Loss loss
    double curvature           # the largest: rates that overshoot are reduced, for infinity slopes, for 0 neither
    double square              # of the sample under way, its squared length with the intercept, where curvature > 0
    double largest_rate        # for it; infinite where there is no limit
    Py_ssize_t count           # of steps
    const Py_ssize_t* order    # the sample of each step
    const double* targets      # by sample: ±1 or a number; for a width above 1, the number of the class
    const double* weights      # by step; NULL for 1 each
    const double* offsets      # by sample, added to its margin; NULL for none
    double center              # added to all margins: where the intercept starts
    double l21                 # of the step under way: the weights of a feature are a group
    Numbers intercept_rates    # its learning rates; none for those of the weights
    double intercept_rate      # where they are given, that of the last step
    Numbers intercept_squares  # the square of the feature that the intercept is the weight of
    void* intercept            # NULL for none; then its state
    void* intercept_a
    void* intercept_b
    double* margins            # by column, to work with; then MARGIN_LANES sums for each
    void* slopes               # two for each column
    void* missed               # for a width of 1, a Missed and five numbers for each feature of the longest sample
    void* tile
    Py_ssize_t longest
    Ahead ahead                # the features of the next sample
    void* contiguous           # memory for the weights under dense samples: see `contiguous_size`; NULL for none
    double total               # the sum of the losses is added here
    double[PENDING_LOSSES] pending_margins  # times ±1, of samples whose log losses are still to be added
    double[PENDING_LOSSES] pending_weights
    Py_ssize_t pending

cdef enum:
    VECTOR = 8       # strengths that are worked on together
    PANEL = 32       # strengths that a pass over dense samples works on together, a multiple of VECTOR
    FTRL_ARRAYS = 4  # what FTRL works on under dense samples: w, z, n and √n

cdef struct Progress:  # progressive validation: each strength predicts a sample before it learns it
    double* means              # by strength, of the losses
    double* firsts             # and what standard_errors needs, see progressive.pxi
    double* seconds
    double weight              # the sum of the weights of the samples, and of their squares
    double squares
    double first               # the weight of the first sample, as long as all have the same, then NaN
    long long count            # of samples

cdef struct Columns:  # a linear model at many strengths that learn together
    Rows t                     # by row, column and strength; width is the number of columns, the strengths are `lanes`
    Py_ssize_t count           # of strengths
    Py_ssize_t lanes           # the same and what is left over up to a multiple of VECTOR, where l1 and l2 are 0
    const double* l1           # by strength, of a step; for FTRL times the number of the step
    const double* l2
    void* last_l1              # by strength, in the dtype of the weights: of the last step
    void* last_l2
    void* threshold            # for PLAIN: l1 and l2 of the step under way as soft_scaled takes them, for a factor of 1
    void* shrinkage
    char* records              # by row
    char* inverses             # by row, for PLAIN: the stamps by strength, first inverse, then total
    double* clock              # for PLAIN, four arrays by strength: product, inverse, total, compensation
    double* next               # and those after the step under way
    Py_ssize_t* ranges         # for FTRL, an active_range for each feature of the longest sample and column
    double* sums               # of margins: MARGIN_LANES for each column and strength
    double* losses             # by strength: of the sample
    double* totals             # by strength: the sum of the losses is added here
    Progress progress

cdef struct Quadratic:  # what stands for a loss near the present weights: slopes and curvatures of samples, by classes
    DType dtype
    const void* data           # the samples' values by features
    Indices indices            # and their numbers; NULL where all samples have all features
    const Py_ssize_t* starts   # by feature, where it begins in them
    Py_ssize_t width           # classes
    double* r                  # by sample and class, the derivative by the margin at the present weights, less h·shift
    const double* h            # by sample and class, the second derivative
    const double* total        # by class, the sum of h; 0 for no intercept
    double* shift              # by class, how far the intercept has moved
    double* first              # by feature and class: Σ h·x
    double* second             # by feature and class: the second derivative, with the intercept at its optimum
    double* w                  # by feature and class
    double* work               # two numbers for each class
    const double* f            # by feature; NULL for none
    ElasticNet p
    double l21
    double low                 # the lower bound of the weights, at most 0
    const Py_ssize_t* features  # those of a sweep; NULL to fill first and second
    Py_ssize_t count           # of features
    double decrease            # what the sweep took off the quadratic and the penalty, at least


# -- Entry points -----------------------------------------------------------------------------------------------------

cdef struct Kernels:
    void (*update)(Task* tasks, Py_ssize_t count) noexcept nogil
    void (*correct)(Task* t, Powers* powers) noexcept nogil  # the direction, for the step after these powers
    double (*penalty)(const Task* t) noexcept nogil  # without that of the groups
    double (*group_penalty)(const Task* t) noexcept nogil
    void (*scale)(DType dtype, void* w, Py_ssize_t n, double factor) noexcept nogil
    bint (*finite)(DType dtype, const void* w, Py_ssize_t n) noexcept nogil
    int (*survey)(const Batch* batch, Py_ssize_t rows, Py_ssize_t* longest) noexcept nogil
    void (*lazy_step)(Rows* t, const Batch* batch, const Schedule* schedule, const Merging* merging) noexcept nogil
    void (*lazy_flush)(Rows* t) noexcept nogil
    void (*lazy_read)(Rows* t, const Indices* indices, Py_ssize_t count, void* out) noexcept nogil
    void (*linear_learn)(Rows* t, const Batch* batch, const Schedule* schedule, Learning* learning) noexcept nogil
    Py_ssize_t (*passes_size)(const Task* t) noexcept nogil  # of the memory for a step in passes; zero at first
    void (*pass_panel)(const Task* t, void* memory, Py_ssize_t panel) noexcept nogil
    bint (*end_pass)(const Task* t, void* memory) noexcept nogil  # after all panels; whether another pass follows
    void (*descent)(Quadratic* q) noexcept nogil
    void (*strengths_learn)(Columns* v, const Batch* batch, const Schedule* schedule, Learning* learning) noexcept nogil
    void (*strengths_flush)(Columns* v) noexcept nogil
    void (*strengths_read)(const Columns* v, Py_ssize_t first, Py_ssize_t count, void* out) noexcept nogil
