// BM25 without Python, for the sanitizers: pruned against exhaustive search, damaged snapshots, threads that search
// while one changes the index. Returns 1 when anything failed.
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engines/bm25.hpp"
#include "kernels/dispatch.hpp"

using namespace ruvllm;

namespace {

std::atomic<int> failures = 0;

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

void test_threads() {
    engines::Bm25 index(1.2, 0.75);
    index.add(random_documents(1500, 0, 3).view());
    std::atomic<bool> is_done = false;
    std::vector<std::thread> readers;
    for (int i = 0; i < 3; ++i) {
        readers.emplace_back([&] {
            while (!is_done) {
                const auto found = index.search(kQuery.data(), kQuery.size(), 20, nullptr, 0);
                expect(found.ids.size() == 20, "a search beside changes", found.ids.size());
                index.size();
            }
        });
    }
    for (int round = 0; round < 6; ++round) {
        const Documents documents = random_documents(600, 10'000 * (round + 1), 4);
        index.add(documents.view());
        const std::string snapshot = index.snapshot();
        index.remove(documents.ids.data(), documents.ids.size());
        index.restore(snapshot);
        index.remove(documents.ids.data(), documents.ids.size());
    }
    is_done = true;
    for (std::thread& reader : readers) reader.join();
    expect(index.size().documents == 1500, "what stays", index.size().documents);
}

}  // namespace

int main() {
    for (const kernels::Isa isa : kernels::kAllIsas) {
        if (!kernels::is_available(isa)) continue;
        kernels::use_isa(isa);
        for (const std::size_t n : {3u, 64u, 2047u, 2048u, 2049u, 9000u}) test_search(n);
        test_damage();
        test_threads();
        std::printf("%s: %d failures\n", kernels::name_of(isa), failures.load());
    }
    return failures == 0 ? 0 : 1;
}
