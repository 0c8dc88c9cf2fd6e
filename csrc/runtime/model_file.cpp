#include "runtime/model_file.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/checksum.hpp"
#include "kernels/half.hpp"

namespace ruvllm::runtime {
namespace {

constexpr std::uint32_t kVersion = 6;
constexpr std::size_t kFingerprinted = 4096;  // bytes of every array

std::size_t bytes_of(DataType type) {
    switch (type) {
        case DataType::int8: return 1;
        case DataType::int16:
        case DataType::float16:
        case DataType::bfloat16: return 2;
        default: return 4;
    }
}

// Walks over the bytes and refuses to leave them.
class Reader {
  public:
    Reader(const std::uint8_t* bytes, std::size_t size) : at_(bytes), left_(size) {}

    const std::uint8_t* take(std::size_t size, const std::string& what) {
        if (size > left_) throw BadModel("model.bin is truncated in " + what);
        const std::uint8_t* start = at_;
        at_ += size;
        left_ -= size;
        return start;
    }

    template <typename T>
    T number(const std::string& what) {
        T value;
        std::memcpy(&value, take(sizeof(T), what), sizeof(T));
        return value;
    }

    std::string text(const std::string& what) {
        const std::size_t length = number<std::uint16_t>(what);
        const auto* start = reinterpret_cast<const char*>(take(length, what));
        if (length == 0 || start[length - 1] != '\0') throw BadModel("model.bin: " + what + " has no end");
        const std::string value(start, length - 1);
        const auto is_plain = [](char c) { return c >= ' ' && c <= '~'; };  // messages with it must be text
        if (!std::all_of(value.begin(), value.end(), is_plain)) throw BadModel("model.bin: " + what + " is not ASCII");
        return value;
    }

    bool is_empty() const { return left_ == 0; }

  private:
    const std::uint8_t* at_;
    std::size_t left_;
};

Variable read_variable(Reader& reader, const std::string& name) {
    Variable variable;
    const std::string what = "variable " + name;
    const auto rank = reader.number<std::uint8_t>(what);
    if (rank > 4) throw BadModel("model.bin: " + what + " has rank " + std::to_string(rank));
    std::size_t size = 1;
    for (int i = 0; i < rank; ++i) {
        const auto length = reader.number<std::uint32_t>(what);
        if (length != 0 && size > SIZE_MAX / length) throw BadModel("model.bin: the shape of " + what + " is too large");
        size *= length;
        variable.shape.push_back(length);
    }
    const auto type = reader.number<std::uint8_t>(what);
    if (type > static_cast<std::uint8_t>(DataType::bfloat16)) {
        throw BadModel("model.bin: " + what + " has the unknown type " + std::to_string(type));
    }
    variable.type = DataType{type};
    variable.bytes = reader.number<std::uint32_t>(what);
    if (variable.bytes % bytes_of(variable.type) != 0 || variable.bytes / bytes_of(variable.type) != size) {
        throw BadModel("model.bin: " + what + " has " + std::to_string(variable.bytes) + " bytes, its shape is " +
                       shape_text(variable.shape));
    }
    variable.data = reader.take(variable.bytes, what);
    return variable;
}

}  // namespace

std::size_t Variable::size() const { return bytes / bytes_of(type); }

std::string shape_text(const std::vector<std::size_t>& shape) {
    std::string text = "(";
    for (const std::size_t length : shape) text += std::to_string(length) + ", ";
    return (shape.empty() ? text : text.substr(0, text.size() - 2)) + ")";
}

bool is_float(DataType type) {
    return type == DataType::float32 || type == DataType::float16 || type == DataType::bfloat16;
}

float float_at(const Variable& variable, std::size_t i) {
    float value = 0.0f;
    if (variable.type == DataType::float32) {
        std::memcpy(&value, variable.data + 4 * i, 4);
        return value;
    }
    std::uint16_t half;
    std::memcpy(&half, variable.data + 2 * i, 2);
    if (variable.type == DataType::float16) {
        kernels::widen_rows(&half, nullptr, 1, 1, &value);
        return value;
    }
    const std::uint32_t bits = std::uint32_t{half} << 16;  // bfloat16 is the upper half
    std::memcpy(&value, &bits, 4);
    return value;
}

ModelFile::ModelFile(const std::string& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (descriptor < 0) throw BadModel("model.bin cannot be opened: " + std::string(std::strerror(errno)));
    struct stat status {};
    const bool is_known = ::fstat(descriptor, &status) == 0 && S_ISREG(status.st_mode);
    size_ = is_known ? static_cast<std::size_t>(status.st_size) : 0;
    void* mapped = size_ == 0 ? MAP_FAILED : ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, descriptor, 0);
    ::close(descriptor);
    if (mapped == MAP_FAILED) throw BadModel("model.bin is empty or cannot be mapped");
    bytes_ = static_cast<const std::uint8_t*>(mapped);
    try {
        Reader reader(bytes_, size_);
        const auto version = reader.number<std::uint32_t>("its version");
        if (version != kVersion) throw BadModel("model.bin has version " + std::to_string(version) + ", not 6");
        spec_ = reader.text("the name of its spec");
        reader.number<std::uint32_t>("its revision");
        const auto count = reader.number<std::uint32_t>("its number of variables");
        std::uint64_t hash = 0;
        for (std::uint32_t i = 0; i < count; ++i) {
            const std::string name = reader.text("the name of variable " + std::to_string(i));
            const Variable variable = read_variable(reader, name);
            const std::string header = name + shape_text(variable.shape) + std::to_string(static_cast<int>(variable.type));
            const std::size_t head = variable.bytes < kFingerprinted ? variable.bytes : kFingerprinted;
            hash = hash * 31 + kernels::hash64(header.data(), header.size());
            hash = hash * 31 + kernels::hash64(reinterpret_cast<const char*>(variable.data), head);
            if (!variables_.emplace(name, variable).second) throw BadModel("model.bin holds " + name + " twice");
        }
        fingerprint_ = hash;
        const auto num_aliases = reader.number<std::uint32_t>("its number of aliases");
        for (std::uint32_t i = 0; i < num_aliases; ++i) {
            std::string alias = reader.text("the name of alias " + std::to_string(i));
            std::string target = reader.text("the target of alias " + alias);
            if (variables_.count(target) == 0) throw BadModel("model.bin: alias " + alias + " names no variable");
            aliases_.emplace(std::move(alias), std::move(target));
        }
        if (!reader.is_empty()) throw BadModel("model.bin has bytes after its last alias");
    } catch (...) {
        ::munmap(mapped, size_);
        throw;
    }
}

ModelFile::~ModelFile() { ::munmap(const_cast<std::uint8_t*>(bytes_), size_); }

// An alias of X stands for X_scale and the like too; those are not written.
const Variable* ModelFile::resolve(const std::string& name, std::string* found) const {
    std::string real = name;
    for (const char* ending : {"", "_scale"}) {
        const std::string_view end(ending);
        if (name.size() <= end.size() || std::string_view(name).substr(name.size() - end.size()) != end) continue;
        const auto alias = aliases_.find(name.substr(0, name.size() - end.size()));
        if (alias != aliases_.end()) real = alias->second + ending;
    }
    const auto at = variables_.find(real);
    if (at == variables_.end()) return nullptr;
    if (found != nullptr) *found = real;
    return &at->second;
}

const Variable& ModelFile::get(const std::string& name) {
    std::string real;
    const Variable* variable = resolve(name, &real);
    if (variable == nullptr) throw BadModel("model.bin: variable " + name + " is missing");
    used_.insert(real);
    return *variable;
}

double ModelFile::number(const std::string& name) {
    const Variable& variable = get(name);
    if (variable.size() != 1) throw BadModel("model.bin: " + name + " is not one number");
    switch (variable.type) {
        case DataType::int8: return static_cast<std::int8_t>(*variable.data);
        case DataType::int16: {
            std::int16_t value;
            std::memcpy(&value, variable.data, sizeof value);
            return value;
        }
        case DataType::int32: {
            std::int32_t value;
            std::memcpy(&value, variable.data, sizeof value);
            return value;
        }
        default: return float_at(variable, 0);
    }
}

std::vector<float> ModelFile::floats(const std::string& name, const std::vector<std::size_t>& shape) {
    const Variable& variable = get(name);
    if (!is_float(variable.type)) throw BadModel("model.bin: " + name + " is not of a floating-point type");
    if (variable.shape != shape) {
        throw BadModel("model.bin: " + name + " has shape " + shape_text(variable.shape) + ", not " + shape_text(shape));
    }
    std::vector<float> values(variable.size());
    for (std::size_t i = 0; i < values.size(); ++i) {
        values[i] = float_at(variable, i);
        if (!std::isfinite(values[i])) throw BadModel("model.bin: " + name + " holds a NaN or an infinity");
    }
    return values;
}

void ModelFile::require_all_used(const std::set<std::string>& ignorable_endings) const {
    for (const auto& [name, variable] : variables_) {
        const std::string ending = name.substr(name.rfind('/') + 1);
        if (used_.count(name) == 0 && ignorable_endings.count(ending) == 0) {
            throw BadModel("model.bin: no use for variable " + name);
        }
    }
}

}  // namespace ruvllm::runtime
