// A linear layer: weights packed once for the kernels, because a product wants many rows of W side by side and the file
// holds them one after the other. float32, int8 with one scale a row, or int4 with one scale for 32 entries.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "engines/aligned.hpp"
#include "kernels/quantized_matmul.hpp"
#include "runtime/arena.hpp"
#include "runtime/model_file.hpp"
#include "runtime/thread_pool.hpp"

namespace ruvllm::runtime {

// Rows on their way into linear layers: as float32, and quantized where the layers are.
class Activations {
  public:
    // Room for m rows of `size`; `quantized` says which form is wanted.
    void reserve(std::size_t m, std::size_t size, bool quantized);
    // The float rows, `size()` apart: fill them, then `finish` those filled.
    float* row(std::size_t i) { return rows_.data() + i * size_; }
    const float* row(std::size_t i) const { return rows_.data() + i * size_; }
    void finish(std::size_t first, std::size_t end);
    std::size_t size() const { return size_; }
    kernels::QuantizedRows quantized() const;

  private:
    std::size_t size_ = 0, k_ = 0;
    bool is_quantized_ = false;
    engines::AlignedBuffer<float> rows_, scales_;
    engines::AlignedBuffer<std::int8_t> values_;
    engines::AlignedBuffer<std::int32_t> offsets_, sums_;
};

class Linear {
  public:
    Linear() = default;

    // Reads `name`/weight, or qweight, with its scales and bias for each name and stacks their rows.
    //   columns  of every part; rows[i] those of part i
    //   arena    holds the packed weights, as long as this layer is used
    // Throws BadModel.
    Linear(ModelFile& file, const std::vector<std::string>& names, const std::vector<std::size_t>& rows,
           std::size_t columns, Arena& arena, ThreadPool& pool);

    std::size_t num_rows() const { return num_rows_; }
    std::size_t num_columns() const { return num_columns_; }
    bool is_quantized() const { return kind_ != Kind::float32; }
    std::size_t bytes() const;

    // out = x W^T + bias for the first m rows of x, or added to out; in parallel over rows of W.
    void apply(const Activations& x, std::size_t m, bool add, float* out, std::size_t ldo, ThreadPool& pool) const;
    // The same for units [first, end) of num_units() of the rows of W; out is that of row 0.
    void apply_units(const Activations& x, std::size_t m, std::size_t first, std::size_t end, bool add, float* out,
                     std::size_t ldo) const;
    std::size_t num_units() const { return (num_rows_ + unit() - 1) / unit(); }
    std::size_t unit() const;  // rows
    std::size_t step() const;  // units that a thread takes at a time

    // Row i of W as float32: what an embedding that is tied to this layer looks up.
    void read_row(std::size_t i, float* out) const;

  private:
    enum class Kind { float32, int8, int4 };

    std::size_t panel_bytes() const;

    Kind kind_ = Kind::float32;
    std::size_t num_rows_ = 0, num_columns_ = 0, k_ = 0;  // k_: columns with padding
    std::uint8_t* panels_ = nullptr;
    std::size_t num_panel_bytes_ = 0;
    engines::AlignedBuffer<float> row_scales_, bias_;
    bool has_bias_ = false;
};

// A table of rows that are only looked up.
class Table {
  public:
    Table() = default;
    // Throws BadModel.
    Table(ModelFile& file, const std::string& name, std::size_t rows, std::size_t columns);

    void read_row(std::size_t i, float* out) const;
    std::size_t bytes() const { return values_.size() + floats_.size() * sizeof(float) + scales_.size() * sizeof(float); }

  private:
    std::size_t columns_ = 0;
    std::vector<std::int8_t> values_;
    std::vector<float> scales_, floats_;
};

}  // namespace ruvllm::runtime
