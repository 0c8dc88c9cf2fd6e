// Searches beside changes of a BM25 index, for the thread sanitizer: whatever a search sees is whole. Returns 1 when
// anything failed.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engines/bm25.hpp"

using namespace ruvllm;

namespace {

constexpr std::int64_t kLasting = 1500;  // ids below it are never removed
constexpr std::size_t kReaders = 3, kRounds = 6, kPassing = 500;
constexpr std::uint64_t kEverywhere = 1, kOfPassing = 2;  // terms: of every document, of those that come and go

std::atomic<int> failures{0};

void expect(bool statement, const char* what) {
    if (!statement && failures.fetch_add(1) < 20) std::printf("FAILED %s\n", what);
}

struct Documents {
    std::vector<std::int64_t> ids, starts{0};
    std::vector<std::uint64_t> terms;

    engines::Bm25::Documents view() const { return {ids.data(), terms.data(), starts.data(), ids.size()}; }
};

Documents documents_of(std::size_t n, std::int64_t first_id, std::mt19937& engine) {
    Documents documents;
    for (std::size_t i = 0; i < n; ++i) {
        documents.ids.push_back(first_id + static_cast<std::int64_t>(i));
        documents.terms.push_back(kEverywhere);
        if (first_id >= kLasting) documents.terms.push_back(kOfPassing);
        for (std::size_t left = engine() % 40; left > 0; --left) documents.terms.push_back(3 + engine() % 200);
        documents.starts.push_back(static_cast<std::int64_t>(documents.terms.size()));
    }
    return documents;
}

void read(const engines::Bm25& index, const std::atomic<bool>& is_done, unsigned seed) {
    std::mt19937 engine(seed);
    const Documents outside = documents_of(3, 0, engine);
    std::vector<std::int64_t> among;
    for (std::int64_t id = 0; id < kLasting; id += 3) among.push_back(id);
    while (!is_done.load()) {
        const std::uint64_t query[] = {kEverywhere, 3 + engine() % 200, 3 + engine() % 200};
        const auto found = index.search(query, 3, 20, nullptr, 0);
        expect(found.ids.size() == 20 && std::is_sorted(found.scores.rbegin(), found.scores.rend()), "best first");
        expect(std::all_of(found.scores.begin(), found.scores.end(), [](float s) { return s > 0.0f && std::isfinite(s); }),
               "sound scores");
        const auto allowed = index.search(query, 3, 20, among.data(), among.size());
        expect(std::all_of(allowed.ids.begin(), allowed.ids.end(), [](std::int64_t id) { return id % 3 == 0; }),
               "a filter");
        const auto passing = index.search(&kOfPassing, 1, 20, nullptr, 0);
        expect(std::all_of(passing.ids.begin(), passing.ids.end(), [](std::int64_t id) { return id >= kLasting; }),
               "who holds the term");
        for (const float score : index.scores_of(query, 3, outside.view())) expect(score > 0.0f, "scores outside");
        const auto size = index.size();
        expect(size.documents >= static_cast<std::size_t>(kLasting) && size.postings >= size.documents, "sizes");
        const std::int64_t lasting[] = {0, kLasting - 1};
        bool is_here[2];
        index.contains(lasting, 2, is_here);
        expect(is_here[0] && is_here[1], "what lasts is here");
        if (engine() % 8 == 0) {
            engines::Bm25 restored(1.2, 0.75);
            restored.restore(index.snapshot());
            expect(restored.size().documents >= static_cast<std::size_t>(kLasting), "a snapshot of one moment");
        }
    }
}

// Enough goes for a compaction.
void write(engines::Bm25& index) {
    std::mt19937 engine(99);
    for (std::size_t round = 0; round < kRounds; ++round) {
        const Documents documents = documents_of(kPassing, kLasting + 1000 * static_cast<std::int64_t>(round), engine);
        index.add(documents.view());
        const std::string snapshot = index.snapshot();
        index.remove(documents.ids.data(), documents.ids.size());
        if (round % 3 != 0) continue;
        index.restore(snapshot);
        index.remove(documents.ids.data(), documents.ids.size());
    }
}

}  // namespace

int main() {
    engines::Bm25 index(1.2, 0.75);
    std::mt19937 engine(98);
    index.add(documents_of(static_cast<std::size_t>(kLasting), 0, engine).view());

    std::atomic<bool> is_done{false};
    std::vector<std::thread> readers;
    for (unsigned seed = 0; seed < kReaders; ++seed) {
        readers.emplace_back([&, seed] { read(index, is_done, seed); });
    }
    std::thread other([&] {  // writers take turns; a restore beside it may have brought its document back or taken it
        std::mt19937 mine(97);
        const Documents document = documents_of(1, 1'000'000, mine);
        for (std::size_t round = 0; round < 20 * kRounds; ++round) {
            try {
                round % 2 == 0 ? index.add(document.view()) : index.remove(document.ids.data(), 1);
            } catch (const std::invalid_argument&) {
            }
        }
    });
    write(index);
    other.join();
    is_done = true;
    for (std::thread& reader : readers) reader.join();
    std::printf("%d failures\n", failures.load());
    return failures == 0 ? 0 : 1;
}
