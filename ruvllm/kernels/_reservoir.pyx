# cython: language_level=3
"""The reservoir's Python class: arguments are checked here, all else is csrc/engines/reservoir.

In Cython, because single adds are what it lives from: a call costs a fraction of one through pybind11.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.number cimport PyIndex_Check
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint64_t
from libcpp cimport bool
from libcpp.memory cimport unique_ptr
from libcpp.pair cimport pair
from libcpp.string cimport string
from libcpp.string_view cimport string_view
from libcpp.vector cimport vector

from threading import Lock

import numpy as np

cdef extern from "Python.h":
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1

cdef extern from "engines/reservoir.hpp" namespace "ruvllm::engines" nogil:
    cdef cppclass Engine "ruvllm::engines::Reservoir":
        cppclass Batch:
            Batch()
            vector[int64_t] kept
            vector[int64_t] slots

        Engine(size_t capacity, bool is_weighted, uint64_t seed) except +
        Engine(string_view snapshot) except +
        int64_t add(int64_t label, double weight) except +
        Batch add_many(size_t n, const int64_t* labels, const double* weights) except +
        size_t capacity()
        size_t size()
        bool is_weighted()
        uint64_t num_seen()
        const vector[int64_t]& items()
        vector[pair[int64_t, size_t]] classes() except +
        string snapshot() except +

    const uint64_t MAX_CAPACITY "ruvllm::engines::Reservoir::kMaxCapacity"

cdef int64_t MAX_ITEMS = 1 << 53  # up to here a double counts every one


cdef class Reservoir:
    """Which items of a stream to keep, and where: a bounded random sample, the same for the same seed.

    The reservoir holds numbers, the caller holds the items: item i of the stream is the i-th one added, and `add` says
    into which of the `capacity` slots it goes.

    Within a class every item is kept with the same probability, by Algorithm L (Li 1994). With `weighted` it is kept as
    if items were drawn one after another, without replacement, in proportion to their weights (Efraimidis and Spirakis
    2006, A-ExpJ).

    Classes share the capacity: until the reservoir is full everything is kept; then a class that holds fewer items than
    the largest one takes a slot from it, and a class that holds as many samples within its own slots. So a rare class is
    kept whole, and the others hold equal shares, up to one slot, of what is left. There can be as many classes as slots.

    The results do not depend on whether items come alone or together. Logarithms come from the C library: two platforms
    whose libraries differ in a last bit may, very rarely, differ in an item. May be used from several threads.

    Args:
        capacity: slots, in [1, 2^31).
        seed: >= 0, below 2^63.
        weighted: whether items have weights.

    Raises:
        ValueError, TypeError: an argument is out of its range or of another type.
    """

    cdef unique_ptr[Engine] engine
    cdef bool is_weighted
    cdef object batch_lock
    cdef bool is_busy  # with a batch, without the interpreter lock; all else happens under it

    def __cinit__(self, capacity, *, seed=0, bool weighted=False):
        cdef int64_t slots = whole(capacity, "capacity"), start = whole(seed, "seed")
        if not 1 <= slots <= <int64_t>MAX_CAPACITY:
            raise ValueError(f"capacity must be in [1, {MAX_CAPACITY}] ({capacity})")
        if start < 0:
            raise ValueError(f"seed must be >= 0 ({seed})")
        self.engine.reset(new Engine(slots, weighted, start))
        self.is_weighted = weighted
        self.batch_lock = Lock()

    def add(self, label=0, weight=1.0):
        """Add the next item; return the slot where it goes, in place of the item there, or -1 when it is not kept.

        Args:
            label: the class of the item, an int64.
            weight: finite and above 0; left out when the reservoir is not weighted.

        Raises:
            ValueError, TypeError: a bad weight or label, or one class more than there are slots; nothing changes.
        """
        cdef int64_t class_label = whole(label, "label")
        cdef double checked = self.weight_of(weight)
        cdef Engine* engine = self.idle()
        self.check_room(1)
        return engine.add(class_label, checked)

    def add_many(self, n, *, labels=None, weights=None):
        """Add the next `n` items; return which of them are kept and where, so that `buffer[slots] = batch[kept]`.

        Args:
            n: how many items; the whole stream may have 2^53.
            labels: (n,) int64, the class of each; class 0 when None.
            weights: (n,) float64, finite and above 0; all 1 when None.

        Returns:
            kept (m,) int64, places in the batch, ascending, and slots (m,) int64, each once.

        Raises:
            ValueError, TypeError: bad weights or labels, or more classes than there are slots; nothing changes.
        """
        cdef int64_t count = whole(n, "n")
        if count < 0:
            raise ValueError(f"n must be >= 0 ({n})")
        cdef const int64_t[::1] label_values
        cdef const double[::1] weight_values
        cdef const int64_t* first_label = NULL
        cdef const double* first_weight = NULL
        if labels is not None:
            label_values = column(labels, "labels", np.int64, count)
            if count > 0:
                first_label = &label_values[0]
        if weights is not None:
            weight_values = column(weights, "weights", np.float64, count)
            self.check_weights(weight_values)
            if count > 0:
                first_weight = &weight_values[0]
        cdef Engine.Batch batch
        with self.batch_lock:
            self.check_room(count)
            self.is_busy = True
            try:
                with nogil:
                    batch = self.engine.get().add_many(count, first_label, first_weight)
            finally:
                self.is_busy = False
        return array(batch.kept), array(batch.slots)

    def __len__(self):
        return self.idle().size()

    @property
    def capacity(self):
        """How many slots there are."""
        return self.engine.get().capacity()

    @property
    def weighted(self):
        """Whether items have weights."""
        return self.is_weighted

    @property
    def num_seen(self):
        """How many items were added so far."""
        return self.idle().num_seen()

    @property
    def items(self):
        """(len,) int64, the number of the item in each slot; slots fill in order."""
        cdef vector[int64_t] items = self.idle().items()  # a copy: making an array may let another thread in
        return array(items)

    @property
    def class_sizes(self):
        """How many items of each class are held, in order of the classes' appearance."""
        cdef vector[pair[int64_t, size_t]] classes = self.idle().classes()
        return {entry.first: entry.second for entry in classes}

    def snapshot(self):
        """Return all that is needed to go on to the same numbers, as bytes that `restore` reads."""
        return self.idle().snapshot()

    @staticmethod
    def restore(snapshot):
        """Return the reservoir whose state this is.

        Raises:
            TypeError: `snapshot` is not bytes.
            ValueError: it is damaged, or something else.
        """
        if not isinstance(snapshot, bytes):
            raise TypeError(f"snapshot must be bytes ({type(snapshot).__name__})")
        cdef Reservoir made = Reservoir(1)
        made.engine.reset(new Engine(string_view(PyBytes_AS_STRING(snapshot), PyBytes_GET_SIZE(snapshot))))
        made.is_weighted = made.engine.get().is_weighted()
        return made

    cdef Engine* idle(self) except NULL:
        """The engine, while no batch runs in another thread."""
        while self.is_busy:
            with self.batch_lock:
                pass
        return self.engine.get()

    cdef int check_room(self, int64_t count) except -1:
        cdef uint64_t seen = self.engine.get().num_seen()
        if seen + <uint64_t>count > <uint64_t>MAX_ITEMS:
            raise ValueError(f"n must keep the stream within {MAX_ITEMS} items ({seen} + {count})")
        return 0

    cdef double weight_of(self, object weight) except -1.0:
        cdef double value = PyFloat_AS_DOUBLE(weight) if PyFloat_CheckExact(weight) else number(weight, "weight")
        if not (isfinite(value) and value > 0.0):
            raise ValueError(f"weight must be finite and above 0 ({weight})")
        if value != 1.0 and not self.is_weighted:
            raise ValueError(f"weight must be left out in a reservoir that is not weighted ({weight})")
        return value

    cdef int check_weights(self, const double[::1] weights) except -1:
        cdef Py_ssize_t i
        if not self.is_weighted:
            raise ValueError("weights must be left out in a reservoir that is not weighted")
        for i in range(weights.shape[0]):
            if not (isfinite(weights[i]) and weights[i] > 0.0):
                raise ValueError(f"weights[{i}] must be finite and above 0 ({weights[i]})")
        return 0


cdef int64_t whole(object value, str name) except? -1:
    """`value` as an int64; a float is not one."""
    cdef int overflow = 0
    if not PyIndex_Check(value):
        raise TypeError(f"{name} must be an integer ({type(value).__name__})")
    cdef int64_t result = PyLong_AsLongLongAndOverflow(value, &overflow)
    if overflow:
        raise ValueError(f"{name} must fit 64 bits ({value})")
    return result


cdef double number(object value, str name) except? -1.0:
    try:
        return value
    except TypeError:
        raise TypeError(f"{name} must be a number ({type(value).__name__})") from None
    except OverflowError:
        raise ValueError(f"{name} must be finite (an integer too large for a float)") from None


cdef object column(object values, str name, object dtype, int64_t size):
    """`values`, checked to be a contiguous array of this type and size; never a copy."""
    if not isinstance(values, np.ndarray):
        raise TypeError(f"{name} must be a numpy array ({type(values).__name__})")
    if values.dtype != dtype:
        raise ValueError(f"{name} must have dtype {np.dtype(dtype)} ({values.dtype})")
    if values.shape != (size,):
        raise ValueError(f"{name} must have shape ({size},) ({values.shape})")
    if not (values.flags.c_contiguous and values.flags.aligned):
        raise ValueError(f"{name} must be C-contiguous and aligned: pass np.ascontiguousarray({name})")
    return values


cdef object array(const vector[int64_t]& values):
    made = np.empty(values.size(), np.int64)
    cdef int64_t[::1] view = made
    cdef size_t i
    for i in range(values.size()):
        view[i] = values[i]
    return made
