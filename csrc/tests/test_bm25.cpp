// BM25 without Python, for the sanitizers: kernels against the scalar, pruned against exhaustive search, damaged
// snapshots. Returns 1 when anything failed.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "engines/bm25.hpp"
#include "kernels/bm25.hpp"
#include "kernels/dispatch.hpp"

using namespace ruvllm;

namespace {

int failures = 0;

void expect(bool statement, const char* what, std::size_t n) {
    if (statement) return;
    ++failures;
    std::printf("FAILED %s: %s, n = %zu\n", kernels::name_of(kernels::active_isa()), what, n);
}

struct Documents {
    std::vector<std::int64_t> ids, starts{0};
    std::vector<std::uint64_t> terms;

    engines::Bm25::Documents view() const { return {ids.data(), terms.data(), starts.data(), ids.size()}; }
};

constexpr std::size_t kMostLanes = 16;

// Every kernel against its definition on n rows or postings, one past an aligned start.
void test_kernels(std::size_t n) {
    std::mt19937 engine(static_cast<unsigned>(n));
    constexpr std::uint32_t kFirstRow = 7;
    std::vector<float> lengths(kFirstRow + 2 * n + 1), before(2 * n + 1);
    for (float& length : lengths) {
        length = engine() % 5 == 0 ? std::numeric_limits<float>::infinity() : static_cast<float>(engine() % 300);
    }
    for (float& score : before) score = static_cast<float>(engine() % 100) / 7.0f;
    std::vector<std::uint8_t> tfs(n + 1);
    std::vector<std::uint32_t> postings(n + 1), rows(n + 1), expected_rows(n + 1);
    for (std::size_t i = 0; i <= n; ++i) {
        tfs[i] = static_cast<std::uint8_t>(engine() % 3 == 0 ? 0 : engine() % 256);
        const std::uint32_t row = kFirstRow + static_cast<std::uint32_t>(2 * i - (i > 0 ? engine() % 2 : 0));
        postings[i] = row << kernels::kTfBits | (1 + engine() % 255);
    }
    for (const kernels::LengthNorm norm : {kernels::LengthNorm{0.3f, 0.0123f}, {0.0f, 0.02f}, {1.2f, 1.2e-38f}}) {
        std::vector<float> scores = before, expected = before;
        kernels::add_dense_scores(tfs.data() + 1, lengths.data() + 1, n, 2.7f, norm, scores.data() + 1);
        kernels::scalar::add_dense_scores(tfs.data() + 1, lengths.data() + 1, n, 2.7f, norm, expected.data() + 1);
        expect(scores == expected, "add_dense_scores", n);
        kernels::add_sparse_scores(postings.data() + 1, n, lengths.data(), kFirstRow, 1.3f, norm, scores.data());
        kernels::scalar::add_sparse_scores(postings.data() + 1, n, lengths.data(), kFirstRow, 1.3f, norm,
                                           expected.data());
        expect(scores == expected, "add_sparse_scores", n);
    }
    for (const float at_least : {-1.0f, 7.0f, before[n], 99.0f}) {
        const std::size_t count = kernels::rows_at_least(before.data() + 1, n, at_least, rows.data());
        const std::size_t expected = kernels::scalar::rows_at_least(before.data() + 1, n, at_least,
                                                                    expected_rows.data());
        expect(count == expected && rows == expected_rows, "rows_at_least", n);
    }
}

// Terms are frequent or rare, a few documents are empty, one repeats a term 300 times.
Documents random_documents(std::size_t n, std::int64_t first_id, unsigned seed) {
    std::mt19937 engine(seed);
    Documents documents;
    for (std::size_t i = 0; i < n; ++i) {
        documents.ids.push_back(first_id + static_cast<std::int64_t>(i));
        const std::size_t length = i == 2 ? 300 : engine() % 25;
        for (std::size_t j = 0; j < length; ++j) {
            documents.terms.push_back(i == 2 ? 0 : engine() % (1u << (engine() % 11)));
        }
        documents.starts.push_back(static_cast<std::int64_t>(documents.terms.size()));
    }
    return documents;
}

const std::vector<std::uint64_t> kQuery{0, 1, 1, 5, 40, 300, 900, 5000};

void test_search(std::size_t n) {
    engines::Bm25 index(1.2, 0.75);
    const Documents documents = random_documents(n, 0, 1);
    index.add(documents.view());
    std::vector<std::int64_t> gone, among;
    for (std::size_t i = 0; i < n; ++i) {
        if (i % 3 == 1) gone.push_back(documents.ids[i]);
        if (i % 7 < 2) among.push_back(documents.ids[n - 1 - i]);
    }
    index.remove(gone.data(), gone.size());
    const std::string snapshot = index.snapshot();
    engines::Bm25 restored(1.2, 0.75);
    restored.restore(snapshot);
    for (const bool filtered : {false, true}) {
        const std::int64_t* kept = filtered ? among.data() : nullptr;
        const auto all = index.search(kQuery.data(), kQuery.size(), n, kept, among.size());
        for (const std::size_t k : {1u, 5u, 60u}) {
            const std::size_t size = std::min(k, all.ids.size());
            for (const engines::Bm25* one : {&index, &restored}) {
                const auto found = one->search(kQuery.data(), kQuery.size(), k, kept, among.size());
                expect(std::equal(all.ids.begin(), all.ids.begin() + static_cast<std::ptrdiff_t>(size),
                                  found.ids.begin(), found.ids.end()), "ids", n);
                expect(std::equal(all.scores.begin(), all.scores.begin() + static_cast<std::ptrdiff_t>(size),
                                  found.scores.begin(), found.scores.end()), "scores", n);
            }
        }
    }
}

void test_damage() {
    engines::Bm25 index(1.2, 0.75);
    index.add(random_documents(20, 0, 2).view());
    const std::string good = index.snapshot();
    std::size_t refused = 0;
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 0x55);
        for (const std::string& bytes : {bad, good.substr(0, i)}) {
            try {
                index.restore(bytes);
            } catch (const std::invalid_argument&) {
                ++refused;
            }
        }
    }
    expect(refused == 2 * good.size(), "damage is refused", good.size());
}

}  // namespace

int main() {
    for (const kernels::Isa isa : kernels::kAllIsas) {
        if (!kernels::is_available(isa)) continue;
        kernels::use_isa(isa);
        for (std::size_t n = 0; n <= 2 * kMostLanes; ++n) test_kernels(n);
        for (const std::size_t n : {3u, 64u, 2047u, 2048u, 2049u, 9000u}) test_search(n);
        test_damage();
        std::printf("%s: %d failures\n", kernels::name_of(isa), failures);
    }
    return failures == 0 ? 0 : 1;
}
