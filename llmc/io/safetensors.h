// Reads and writes the safetensors format.
//
//   8 bytes        n, the header's length, little-endian
//   n bytes        JSON: {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..,
//                  "__metadata__": {"format": "pt", ..}}; offsets count from the end of the header
//   the rest       the tensors, row-major, little-endian, end to end without holes
//
// Files come from anywhere, so the reader trusts nothing: every length is checked before it is used, the tensors must
// cover the rest of the file exactly, without overlap, and a tensor's bytes must be its shape times its item size. The
// rules are those of the reference implementation (huggingface/safetensors). Data is memory-mapped and read on demand.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "llmc/core/dtype.h"
#include "llmc/io/file_io.h"
#include "llmc/io/mapped_file.h"

namespace llmc {

struct SafeTensor {
    std::string dtype;  // "F32", "BF16", "I64", ..
    std::vector<int64_t> shape;
    std::span<const std::byte> bytes;  // at any alignment

    int64_t size() const;  // elements
};

// "[2, 3]"
std::string shape_to_string(std::span<const int64_t> shape);

class SafetensorsFile {
  public:
    explicit SafetensorsFile(const std::filesystem::path& path);

    const std::filesystem::path& path() const { return file_.path(); }
    const std::map<std::string, SafeTensor>& tensors() const { return tensors_; }
    const std::map<std::string, std::string>& metadata() const { return metadata_; }
    bool contains(const std::string& name) const { return tensors_.count(name) != 0; }
    const SafeTensor& tensor(const std::string& name) const;  // throws when there is none

    // F32, F16 or BF16, the formats of weights; throws for any other, naming the tensor.
    DType dtype(const std::string& name) const;
    // out = the whole tensor, or its elements from `first` on, in fp32. Throws if a value is NaN or infinite, naming
    // the tensor and the index.
    void read(const std::string& name, std::span<float> out) const;
    void read_part(const std::string& name, int64_t first, std::span<float> out) const;
    // Releases the tensor's pages.
    void release(const std::string& name) const { file_.release(tensor(name).bytes); }

  private:
    MappedFile file_;
    std::map<std::string, SafeTensor> tensors_;
    std::map<std::string, std::string> metadata_;
};

struct TensorSpec {
    std::string name;
    std::string dtype;
    std::vector<int64_t> shape;
};

// Writes the header first, then the tensors as they come, in the order of `specs`. The file appears once finish() has
// put the last byte on the disk.
class SafetensorsWriter {
  public:
    SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> specs,
                      const std::map<std::string, std::string>& metadata = {{"format", "pt"}});

    // The next bytes of the tensor that is due, which must be `name`; a large tensor may come in pieces.
    void write(const std::string& name, std::span<const std::byte> bytes);
    void write(const std::string& name, std::span<const float> values) { write(name, std::as_bytes(values)); }
    // Every tensor, or what is left of one, that has not been written becomes zeros: a hole in the file.
    void leave_zero();
    void finish();

  private:
    int64_t bytes_of(size_t spec) const;

    AtomicFile file_;
    std::filesystem::path path_;
    std::vector<TensorSpec> specs_;
    size_t due_ = 0;         // the spec whose bytes come next
    int64_t due_bytes_ = 0;  // how many of them have come
};

}  // namespace llmc
