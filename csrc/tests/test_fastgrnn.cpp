// FastGRNN without Python, for the sanitizers: every array ends where its allocation ends, so a read or a write past it
// is seen. float32 on every instruction set against the same model in double. Returns 1 when anything failed.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "engines/fastgrnn.hpp"
#include "engines/fastgrnn_int8.hpp"
#include "kernels/dispatch.hpp"

using namespace ruvllm;

namespace {

int failures = 0;

enum class Form { dense, low_rank, sparse, full_u };

struct Case {
    Form form;
    std::size_t inputs, hidden, sequences, steps;
};

// Small weights keep every sum below about 10, so that rounding stays below 1e-4 of the largest gradient.
void expect_close(const std::vector<float>& found, const std::vector<double>& truth, const char* what, const Case& c) {
    double largest = 1.0;
    for (const double value : truth) largest = std::max(largest, std::fabs(value));
    for (std::size_t i = 0; i < truth.size(); ++i) {
        if (std::fabs(found[i] - truth[i]) <= 1e-4 * largest) continue;
        ++failures;
        std::printf("FAILED %s: %s[%zu] = %g, not %g (form %d, %zu -> %zu, %zu x %zu)\n",
                    kernels::name_of(kernels::active_isa()), what, i, static_cast<double>(found[i]), truth[i],
                    static_cast<int>(c.form), c.inputs, c.hidden, c.sequences, c.steps);
        return;
    }
}

engines::FastGrnnConfig config_of(const Case& c) {
    engines::FastGrnnConfig config{};
    config.input_size = c.inputs;
    config.hidden_size = c.hidden;
    config.u_rank = c.form == Form::full_u ? 0 : std::min<std::size_t>(3, c.hidden);
    config.w_rank = c.form == Form::low_rank ? std::min({std::size_t{2}, c.inputs, c.hidden}) : 0;
    using kernels::HeadActivation;
    config.heads = {{3, HeadActivation::softmax}, {1, HeadActivation::linear}, {2, HeadActivation::sigmoid}};
    if (c.form != Form::sparse) return config;
    config.indptr.push_back(0);
    for (std::size_t i = 0; i < c.hidden; ++i) {
        for (std::size_t j = i % 3; j < c.inputs; j += 3) config.indices.push_back(static_cast<std::int32_t>(j));
        config.indptr.push_back(static_cast<std::int32_t>(config.indices.size()));
    }
    return config;
}

std::vector<double> random_numbers(std::size_t size, unsigned seed, double scale) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);  // float32 values: both models see the same
    std::vector<double> values(size);
    for (double& value : values) value = static_cast<float>(scale) * uniform(engine);
    return values;
}

template <typename Real>
struct Results {
    std::vector<Real> step_h, step_outputs, hidden, outputs, d_params, d_h_0, d_x;
};

template <typename Real>
Results<Real> run(const Case& c) {
    const auto numbers = [](std::size_t size, unsigned seed, double scale) {
        const std::vector<double> values = random_numbers(size, seed, scale);
        return std::vector<Real>(values.begin(), values.end());
    };
    engines::FastGrnn<Real> model(config_of(c));
    model.set_params(numbers(model.num_params(), 1, 0.2).data());
    const std::size_t rows = c.sequences * c.steps, num_outputs = 6;
    const auto x = numbers(rows * c.inputs, 2, 1.0), h_0 = numbers(c.sequences * c.hidden, 3, 1.0);
    const auto d_logits = numbers(rows * num_outputs, 4, 1.0), d_hidden = numbers(rows * c.hidden, 5, 1.0);
    Results<Real> r;
    r.step_h.resize(c.hidden);
    r.step_outputs.resize(num_outputs);
    r.hidden.resize(rows * c.hidden);
    r.outputs.resize(rows * num_outputs);
    r.d_params.resize(model.num_params());
    r.d_h_0.resize(c.sequences * c.hidden);
    r.d_x.resize(rows * c.inputs);
    const std::vector<Real> one_x(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(c.inputs));
    const std::vector<Real> one_h(h_0.begin(), h_0.begin() + static_cast<std::ptrdiff_t>(c.hidden));
    model.step(one_x.data(), one_h.data(), r.step_h.data(), r.step_outputs.data());
    const engines::Sequences<Real> sequences{x.data(), h_0.data(), c.sequences, c.steps};
    engines::FastGrnnTape<Real> tape;
    model.forward(sequences, nullptr, r.hidden.data(), r.outputs.data());
    model.forward(sequences, &tape, r.hidden.data(), r.outputs.data());
    engines::fastgrnn_backward(tape, sequences, r.hidden.data(),
                               {d_logits.data(), d_hidden.data(), r.d_params.data(), r.d_h_0.data(), r.d_x.data()});
    if constexpr (std::is_same_v<Real, float>) {  // only for its reads and writes: what it computes is tested in Python
        const engines::FastGrnnInt8 int8(*model.params());
        std::vector<float> new_h(c.hidden), outputs(num_outputs);
        int8.step(one_x.data(), one_h.data(), new_h.data(), outputs.data());
    }
    return r;
}

void test(const Case& c) {
    const Results<float> found = run<float>(c);
    const Results<double> truth = run<double>(c);
    expect_close(found.step_h, truth.step_h, "step", c);
    expect_close(found.step_outputs, truth.step_outputs, "step outputs", c);
    expect_close(found.hidden, truth.hidden, "hidden", c);
    expect_close(found.outputs, truth.outputs, "outputs", c);
    expect_close(found.d_params, truth.d_params, "d_params", c);
    expect_close(found.d_h_0, truth.d_h_0, "d_h_0", c);
    expect_close(found.d_x, truth.d_x, "d_x", c);
}

}  // namespace

int main() {
    for (const kernels::Isa isa : kernels::kAllIsas) {
        if (!kernels::is_available(isa)) continue;
        kernels::use_isa(isa);
        for (const Form form : {Form::dense, Form::low_rank, Form::sparse, Form::full_u}) {
            for (std::size_t size = 1; size <= 34; ++size) {
                test({form, size, 35 - size, 1 + size % 5, 1 + size % 4});
                test({form, size, size, 17, 1});
            }
            test({form, 37, 70, 90, 8});  // more than one block of sequences
        }
        std::printf("%s: %d failures\n", kernels::name_of(isa), failures);
    }
    return failures == 0 ? 0 : 1;
}
