// A model.bin in CTranslate2's format, binary version 6: named arrays, and names that stand for other names.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace ruvllm::runtime {

// What a model file says wrong, naming the field.
class BadModel : public std::runtime_error {
  public:
    using std::runtime_error::runtime_error;
};

enum class DataType : std::uint8_t { float32 = 0, int8 = 1, int16 = 2, int32 = 3, float16 = 4, bfloat16 = 5 };

// One array of the file: `bytes` bytes at `data`, not aligned, valid while the file is open.
struct Variable {
    DataType type{};
    std::vector<std::size_t> shape;
    const std::uint8_t* data = nullptr;
    std::size_t bytes = 0;

    std::size_t size() const;  // entries
};

// Maps the file, read-only. Nothing is allocated that the file's size does not cover.
class ModelFile {
  public:
    // Throws BadModel: unreadable, truncated, of another version, or a length that does not fit.
    explicit ModelFile(const std::string& path);
    ~ModelFile();
    ModelFile(const ModelFile&) = delete;
    ModelFile& operator=(const ModelFile&) = delete;

    const std::string& spec() const { return spec_; }
    std::uint64_t fingerprint() const { return fingerprint_; }  // of names, shapes and the start of every array

    bool has(const std::string& name) const { return resolve(name) != nullptr; }
    // The array called `name`, or the one it is an alias of; counted as used. Throws BadModel when there is none.
    const Variable& get(const std::string& name);

    // A number of rank 0, whatever its type.
    double number(const std::string& name);
    double number(const std::string& name, double missing) { return has(name) ? number(name) : missing; }
    // A float32, float16 or bfloat16 array of this shape as float32, every entry finite.
    std::vector<float> floats(const std::string& name, const std::vector<std::size_t>& shape);
    // The same where the file may leave it out: empty then.
    std::vector<float> floats_if_there(const std::string& name, const std::vector<std::size_t>& shape) {
        return has(name) ? floats(name, shape) : std::vector<float>{};
    }

    // Throws BadModel when a variable was never asked for: another architecture than its spec says.
    void require_all_used(const std::set<std::string>& ignorable_endings) const;

  private:
    const Variable* resolve(const std::string& name, std::string* found = nullptr) const;

    const std::uint8_t* bytes_ = nullptr;
    std::size_t size_ = 0;
    std::string spec_;
    std::uint64_t fingerprint_ = 0;
    std::map<std::string, Variable, std::less<>> variables_;
    std::map<std::string, std::string, std::less<>> aliases_;
    std::set<std::string> used_;
};

std::string shape_text(const std::vector<std::size_t>& shape);

// One float of an array of float32, float16 or bfloat16; other types are for the caller to refuse.
float float_at(const Variable& variable, std::size_t i);
bool is_float(DataType type);

}  // namespace ruvllm::runtime
