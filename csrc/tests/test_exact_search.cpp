// Exact search without Python, for the sanitizers: every array ends where its allocation ends, so a read or a write
// past it is seen. Returns 1 when anything failed.
#include <cmath>
#include <cstdio>
#include <random>
#include <vector>

#include "engines/exact_search.hpp"
#include "kernels/dispatch.hpp"
#include "kernels/exact_search.hpp"

using namespace ruvllm;

namespace {

int failures = 0;

void expect(bool statement, const char* what, std::size_t n, std::size_t dim) {
    if (statement) return;
    ++failures;
    std::printf("FAILED %s: %s, n = %zu, dim = %zu\n", kernels::name_of(kernels::active_isa()), what, n, dim);
}

std::vector<float> random_floats(std::size_t size, unsigned seed) {
    std::mt19937 engine(seed);
    std::uniform_real_distribution<float> uniform(-1.0f, 1.0f);
    std::vector<float> values(size);
    for (float& value : values) value = uniform(engine);
    return values;
}

// Bound of a float32 dot product's rounding: dim * eps * sum |a b|.
bool is_close(const float* a, const float* b, std::size_t dim, float score) {
    double exact = 0.0, magnitude = 0.0;
    for (std::size_t d = 0; d < dim; ++d) {
        exact += double{a[d]} * b[d];
        magnitude += std::fabs(double{a[d]} * b[d]);
    }
    return std::fabs(exact - score) <= static_cast<double>(dim) * 1.2e-7 * magnitude;
}

void test_search(std::size_t n, std::size_t dim, std::size_t num_queries, bool with_rows) {
    const std::vector<float> vectors = random_floats(n * dim, 1), queries = random_floats(num_queries * dim, 2);
    std::vector<std::int64_t> rows;
    for (std::size_t i = 0; with_rows && i < n; i += 2) rows.push_back(static_cast<std::int64_t>(n - 1 - i));
    const std::size_t num_rows = with_rows ? rows.size() : n, k = (num_rows + 1) / 2;
    const engines::ExactSearch search{vectors.data(), nullptr, with_rows ? rows.data() : nullptr, num_rows, queries.data(),
                                      num_queries, dim, k};
    std::vector<std::int64_t> labels(num_queries * k), many_labels(labels.size());
    std::vector<float> scores(labels.size()), many_scores(labels.size());
    engines::exact_search(search, 1, labels.data(), scores.data());
    engines::exact_search(search, 3, many_labels.data(), many_scores.data());
    expect(labels == many_labels && scores == many_scores, "threads change the result", n, dim);
    for (std::size_t i = 0; i < labels.size(); ++i) {
        const float* row = vectors.data() + static_cast<std::size_t>(labels[i]) * dim;
        expect(is_close(row, queries.data() + i / k * dim, dim, scores[i]), "score", n, dim);
        expect(i % k == 0 || scores[i - 1] >= scores[i], "order", n, dim);
    }
}

// Halves with the bits 0x3c00 + i mod 1024, which are 1 + i / 1024, against the same numbers as floats.
void test_halves(std::size_t n, std::size_t dim, bool with_rows) {
    std::vector<std::uint16_t> halves(n * dim);
    std::vector<float> vectors(n * dim);
    for (std::size_t i = 0; i < halves.size(); ++i) {
        halves[i] = static_cast<std::uint16_t>(0x3c00 + i * 37 % 1024);
        vectors[i] = 1.0f + static_cast<float>(i * 37 % 1024) / 1024.0f;
    }
    const std::vector<float> queries = random_floats(3 * dim, 4);
    std::vector<std::int64_t> rows;
    for (std::size_t i = 0; with_rows && i < n; i += 2) rows.push_back(static_cast<std::int64_t>(n - 1 - i));
    const std::size_t num_rows = with_rows ? rows.size() : n;
    engines::ExactSearch search{vectors.data(), nullptr, with_rows ? rows.data() : nullptr, num_rows, queries.data(),
                                3, dim, num_rows};
    std::vector<std::int64_t> labels(3 * num_rows), half_labels(labels.size());
    std::vector<float> scores(labels.size()), half_scores(labels.size());
    engines::exact_search(search, 1, labels.data(), scores.data());
    search.vectors = nullptr;
    search.halves = halves.data();
    engines::exact_search(search, 3, half_labels.data(), half_scores.data());
    expect(labels == half_labels && scores == half_scores, "halves differ from the same floats", n, dim);
}

void test_first_bad_row(std::size_t n, std::size_t dim) {
    std::vector<float> vectors = random_floats(n * dim, 3);
    expect(kernels::first_bad_row(vectors.data(), n, dim) == n, "all finite", n, dim);
    vectors.back() = NAN;
    expect(kernels::first_bad_row(vectors.data(), n, dim) == n - 1, "last value NaN", n, dim);
    vectors.front() = -INFINITY;
    expect(kernels::first_bad_row(vectors.data(), n, dim) == 0, "first value infinite", n, dim);
}

}  // namespace

int main() {
    for (const kernels::Isa isa : kernels::kAllIsas) {
        if (!kernels::is_available(isa)) continue;
        kernels::use_isa(isa);
        for (std::size_t dim = 1; dim <= 66; ++dim) {
            for (std::size_t n = 1; n <= 8; ++n) {
                for (std::size_t num_queries = 1; num_queries <= 5; ++num_queries) {
                    test_search(n, dim, num_queries, false);
                    test_search(n, dim, num_queries, true);
                }
                test_first_bad_row(n, dim);
                test_halves(n, dim, false);
                test_halves(n, dim, true);
            }
        }
        test_search(1000, 384, 70, false);
        test_search(1000, 384, 70, true);
        test_search(20, 9001, 9, false);
        test_halves(1000, 384, true);
        std::printf("%s: %d failures\n", kernels::name_of(isa), failures);
    }
    return failures == 0 ? 0 : 1;
}
