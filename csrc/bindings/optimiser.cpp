#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "bindings/checks.hpp"
#include "kernels/optimiser.hpp"

namespace ruvllm::bindings {
namespace {

using namespace pybind11::literals;

struct Hyperparameters {
    double step, learning_rate, beta_1, beta_2, epsilon, weight_decay, max_norm, ewc_lambda;
};

void require_range(double value, double least, double below, const char* name) {
    if (!(value >= least && value < below)) {
        const std::string end = std::isinf(below) ? "finite and >= " + text_of(py::float_(least))
                                                  : "in [" + text_of(py::float_(least)) + ", " +
                                                        text_of(py::float_(below)) + ")";
        throw bad_value(name, "be " + end, text_of(py::float_(value)));
    }
}

void require_hyperparameters(const Hyperparameters& h) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    require_range(h.step, 1, kInfinity, "step");
    require_range(h.learning_rate, 0, kInfinity, "learning_rate");
    require_range(h.beta_1, 0, 1, "beta_1");
    require_range(h.beta_2, 0, 1, "beta_2");
    require_range(h.epsilon, 0, kInfinity, "epsilon");
    require_range(h.weight_decay, 0, kInfinity, "weight_decay");
    require_range(h.ewc_lambda, 0, kInfinity, "ewc_lambda");
    if (!(h.max_norm > 0)) throw bad_value("max_norm", "be > 0", text_of(py::float_(h.max_norm)));
}

// The arrays of one step, each named and known to be finite, none overlapping another.
template <typename Real>
class Buffers {
  public:
    explicit Buffers(std::size_t size) : size_(size) {}

    template <typename T>
    T* take(const py::object& object, const char* name, Real least = std::numeric_limits<Real>::lowest()) {
        const auto array = require<T>(object, name, {static_cast<py::ssize_t>(size_)});
        for (const auto& [start, other] : taken_) {
            if (size_ > 0 && start < array.data() + size_ && array.data() < start + size_) {
                throw py::value_error(std::string(name) + " must not share memory with " + other + ": pass a copy");
            }
        }
        if (!kernels::all_finite_from(least, array.data(), size_)) {
            require_finite(array, name);
            throw py::value_error(std::string(name) + " must not be negative");
        }
        taken_.emplace_back(array.data(), name);
        return array.data();
    }

  private:
    std::size_t size_;
    std::vector<std::pair<const Real*, const char*>> taken_;
};

// As `Real` holds them: no beta rounds to 1, epsilon not to 0 (0 / 0 where there never was a gradient), no overflow.
template <typename Real>
void require_representable(const Hyperparameters& h) {
    constexpr double kLeast = std::numeric_limits<Real>::min(), kMost = std::numeric_limits<Real>::max();
    const double below_1 = 1.0 - std::numeric_limits<Real>::epsilon() / 2;
    require_range(h.beta_1, 0, below_1, "beta_1");
    require_range(h.beta_2, 0, below_1, "beta_2");
    require_range(h.epsilon, kLeast, kMost, "epsilon");
    require_range(h.learning_rate / (1.0 - std::pow(h.beta_1, h.step)), 0, kMost, "learning_rate");
    require_range(h.learning_rate * h.weight_decay, 0, kMost, "learning_rate * weight_decay");
    require_range(h.ewc_lambda, 0, kMost, "ewc_lambda");
}

template <typename Real>
py::tuple adamw_step(const py::object& params, const py::object& gradient, const py::object& first_moment,
                     const py::object& second_moment, const py::object& anchor_params,
                     const py::object& fisher_diagonal, const Hyperparameters& h) {
    require_representable<Real>(h);
    const std::size_t n = require<Real>(params, "params", {kAny}).size();
    Buffers<Real> buffers(n);
    Real* theta = buffers.template take<Real>(params, "params");
    kernels::TrainingGradient<Real> g{};
    g.gradient = buffers.template take<const Real>(gradient, "gradient");
    Real* m = buffers.template take<Real>(first_moment, "first_moment");
    Real* v = buffers.template take<Real>(second_moment, "second_moment", 0);
    if (anchor_params.is_none() != fisher_diagonal.is_none()) {
        throw py::value_error("anchor_params and fisher_diagonal must be given together");
    }
    if (!anchor_params.is_none()) {
        g.anchor_params = buffers.template take<const Real>(anchor_params, "anchor_params");
        g.fisher_diagonal = buffers.template take<const Real>(fisher_diagonal, "fisher_diagonal", 0);
        g.ewc_lambda = static_cast<Real>(h.ewc_lambda);
    }
    kernels::GradientSums sums{};
    double norm = 0.0;
    {
        const py::gil_scoped_release nogil;
        sums = kernels::gradient_sums(g, theta, n);
        norm = std::sqrt(sums.square_norm);
        if (std::isfinite(norm)) {
            const double clip = std::min(1.0, h.max_norm / norm);
            const kernels::AdamWScalars<Real> scalars{
                static_cast<Real>(clip),
                static_cast<Real>(h.beta_1),
                static_cast<Real>(h.beta_2),
                static_cast<Real>(h.epsilon),
                static_cast<Real>(h.learning_rate / (1.0 - std::pow(h.beta_1, h.step))),
                static_cast<Real>(std::sqrt(1.0 - std::pow(h.beta_2, h.step))),
                static_cast<Real>(1.0 - h.learning_rate * h.weight_decay)};
            kernels::adamw_update(g, scalars, n, theta, m, v);
        }
    }
    if (!std::isfinite(norm)) throw py::value_error("gradient must have a finite norm: its squares overflow");
    return py::make_tuple(sums.penalty, norm);
}

}  // namespace

void register_optimiser(py::module_& m) {
    m.def(
        "adamw_step",
        [](const py::object& params, const py::object& gradient, const py::object& first_moment,
           const py::object& second_moment, const py::object& anchor_params, const py::object& fisher_diagonal,
           py::ssize_t step, double learning_rate, double beta_1, double beta_2, double epsilon, double weight_decay,
           double max_norm, double ewc_lambda) {
            const Hyperparameters h{static_cast<double>(step), learning_rate, beta_1,   beta_2,
                                    epsilon,                   weight_decay,  max_norm, ewc_lambda};
            require_hyperparameters(h);
            const bool is_double = py::isinstance<py::array_t<double>>(params);
            const auto run = is_double ? adamw_step<double> : adamw_step<float>;
            return run(params, gradient, first_moment, second_moment, anchor_params, fisher_diagonal, h);
        },
        "params"_a, "gradient"_a, "first_moment"_a, "second_moment"_a, "anchor_params"_a, "fisher_diagonal"_a,
        "step"_a, "learning_rate"_a, "beta_1"_a, "beta_2"_a, "epsilon"_a, "weight_decay"_a, "max_norm"_a,
        "ewc_lambda"_a);
}

}  // namespace ruvllm::bindings
