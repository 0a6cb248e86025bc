#include "llmc/io/safetensors.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cmath>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <utility>

#include "llmc/core/error.h"
#include "llmc/core/integers.h"
#include "llmc/io/json.h"

namespace llmc {

namespace {

using nlohmann::json;

// The reference implementation's limit. A 405B model's header has some 100 KB.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr int64_t kMaxInt64 = std::numeric_limits<int64_t>::max();

// Bytes per element; 0 if unknown.
int64_t item_size(const std::string& dtype) {
    static const std::map<std::string, int64_t> sizes = {
        {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E5M2", 1}, {"F8_E4M3", 1}, {"F8_E8M0", 1},
        {"I16", 2},  {"U16", 2}, {"F16", 2}, {"BF16", 2},    {"I32", 4},     {"U32", 4},
        {"F32", 4},  {"I64", 8}, {"U64", 8}, {"F64", 8},     {"C64", 8}};
    const auto it = sizes.find(dtype);
    return it == sizes.end() ? 0 : it->second;
}

// shape[0] * shape[1] * .. * item, or -1 if that takes more than 63 bits.
int64_t checked_bytes(const std::vector<int64_t>& shape, int64_t item) {
    int64_t bytes = item;
    for (const int64_t extent : shape) {
        if (__builtin_mul_overflow(bytes, extent, &bytes)) return -1;
    }
    return bytes;
}

uint64_t read_little_endian(std::span<const std::byte> bytes) {
    uint64_t value = 0;
    for (size_t i = 0; i < 8; ++i) value |= static_cast<uint64_t>(bytes[i]) << (8 * i);
    return value;
}

}  // namespace

int64_t SafeTensor::size() const {
    int64_t n = 1;
    for (const int64_t extent : shape) n *= extent;  // checked against the bytes when the header was read
    return n;
}

std::string shape_to_string(std::span<const int64_t> shape) {
    std::string text = "[";
    for (size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
    return text + "]";
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path) : file_(path) {
    const std::string where = path.string();
    const std::span<const std::byte> bytes = file_.bytes();
    refuse_lfs_pointer(path, {reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    require(bytes.size() >= 8, where, ": is not a safetensors file: it has ", bytes.size(),
            " bytes, and the header's length alone takes 8");
    const uint64_t header_bytes = read_little_endian(bytes);
    require(header_bytes <= kMaxHeaderBytes, where,
            ": is not a safetensors file: its first 8 bytes announce a header of ", header_bytes,
            " bytes, and the format allows ", kMaxHeaderBytes);
    require(header_bytes <= bytes.size() - 8, where, ": the header should have ", header_bytes,
            " bytes, the file has only ", bytes.size() - 8, " after its length; the file is cut short, fetch it again");
    const std::string_view header(reinterpret_cast<const char*>(bytes.data()) + 8, header_bytes);
    require(header.starts_with('{'), where, ": is not a safetensors file: its header does not start with '{'");
    const std::span<const std::byte> data = bytes.subspan(8 + header_bytes);
    const auto data_bytes = static_cast<int64_t>(data.size());

    const json tree = parse_json(header, where + " (header)");
    std::vector<std::pair<int64_t, const std::string*>> begins;  // to check that the tensors lie end to end
    for (const auto& [name, entry] : tree.items()) {
        if (name == "__metadata__") {
            require(entry.is_object(), where, ": __metadata__ in the header must be an object of strings");
            for (const auto& [key, value] : entry.items()) {
                require(value.is_string(), where, ": __metadata__ field ", key, " in the header must be a string");
                metadata_[key] = value.get<std::string>();
            }
            continue;
        }
        const std::string what = concat(where, ": tensor ", name);
        require(entry.is_object(), what, " must be described by an object in the header, found ", describe(entry));
        const JsonObject fields(entry, what);
        SafeTensor tensor;
        tensor.dtype = fields.string("dtype");
        const int64_t item = item_size(tensor.dtype);
        require(item != 0, what, " has the unknown dtype ", tensor.dtype);

        const auto to_extents = [&](const char* key) {
            const json& list = fields.value(key);
            std::vector<int64_t> extents;
            bool fits = list.is_array();
            for (size_t i = 0; fits && i < list.size(); ++i) {
                fits = list[i].is_number_unsigned() && list[i].get<uint64_t>() <= uint64_t{kMaxInt64};
                if (fits) extents.push_back(list[i].get<int64_t>());
            }
            if (!fits) fields.fail_field(key, "a list of non-negative integers");
            return extents;
        };
        tensor.shape = to_extents("shape");
        const std::vector<int64_t> offsets = to_extents("data_offsets");
        require(offsets.size() == 2, what, " must have two data_offsets, found ", offsets.size());
        const int64_t begin = offsets[0], end = offsets[1];
        require(begin <= end, what, " has data_offsets [", begin, ", ", end, "], which end before they begin");
        require(end <= data_bytes, what, " lies at bytes ", begin, " to ", end,
                " of the data, but the file holds only ", data_bytes, "; the file is cut short, fetch it again");
        const int64_t expected = checked_bytes(tensor.shape, item);
        require(expected == end - begin, what, " has ", end - begin, " bytes, but ", tensor.dtype, " ",
                shape_to_string(tensor.shape), " takes ", expected < 0 ? "more than 2^63" : std::to_string(expected));
        tensor.bytes = data.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
        begins.emplace_back(begin, &tensors_.emplace(name, std::move(tensor)).first->first);
    }

    // An empty tensor begins where the next one does, and comes first.
    std::sort(begins.begin(), begins.end(), [&](const auto& a, const auto& b) {
        return std::pair(a.first, tensors_[*a.second].bytes.size()) <
               std::pair(b.first, tensors_[*b.second].bytes.size());
    });
    int64_t end = 0;
    const std::string* previous = nullptr;
    for (const auto& [begin, name] : begins) {
        require(begin >= end, where, ": tensors ", previous ? *previous : "", " and ", *name, " overlap");
        require(begin == end, where, ": bytes ", end, " to ", begin, " of the data, before tensor ", *name,
                ", belong to no tensor; the file is damaged");
        end += static_cast<int64_t>(tensors_[*name].bytes.size());
        previous = name;
    }
    require(end == data_bytes, where, ": the last ", data_bytes - end,
            " bytes of the file belong to no tensor; the file is damaged");
}

const SafeTensor& SafetensorsFile::tensor(const std::string& name) const {
    const auto it = tensors_.find(name);
    require(it != tensors_.end(), path().string(), ": has no tensor ", name);
    return it->second;
}

DType SafetensorsFile::dtype(const std::string& name) const {
    const std::string& dtype = tensor(name).dtype;
    for (const DType known : {DType::f32, DType::f16, DType::bf16}) {
        if (dtype == name_of(known)) return known;
    }
    fail(path().string(), ": tensor ", name, " is stored as ", dtype, "; F32, F16 and BF16 can be read");
}

void SafetensorsFile::read(const std::string& name, std::span<float> out) const {
    require(static_cast<int64_t>(out.size()) == tensor(name).size(), path().string(), ": tensor ", name, " has ",
            tensor(name).size(), " elements, ", out.size(), " were asked for");
    read_part(name, 0, out);
}

void SafetensorsFile::read_part(const std::string& name, int64_t first, std::span<float> out) const {
    const SafeTensor& source = tensor(name);
    const auto count = static_cast<int64_t>(out.size());
    require(first >= 0 && first <= source.size() && count <= source.size() - first, path().string(), ": tensor ", name,
            " has ", source.size(), " elements, ", count, " from ", first, " on were asked for");
    const DType type = dtype(name);
    const std::byte* stored = source.bytes.data() + first * size_of(type);
    std::atomic<bool> all_finite = true;
    in_pieces(count, [&](int64_t begin, int64_t end) {
        to_float(type, stored + begin * size_of(type), out.data() + begin, end - begin);
        // While the piece is in the cache. |x| <= max is false for NaN and infinity alone.
        bool finite = true;
        for (int64_t i = begin; i < end; ++i) finite &= std::abs(out[i]) <= std::numeric_limits<float>::max();
        if (!finite) all_finite = false;
    });
    if (all_finite) return;
    const auto bad = std::find_if(out.begin(), out.end(), [](float x) { return !std::isfinite(x); });
    auto index = first + static_cast<int64_t>(bad - out.begin());
    std::vector<int64_t> indices(source.shape.size());
    for (size_t i = indices.size(); i-- > 0; index /= source.shape[i]) indices[i] = index % source.shape[i];
    fail(path().string(), ": tensor ", name, " holds ", std::isnan(*bad) ? "NaN" : "an infinite value", " at ",
         shape_to_string(indices), "; the file is damaged, fetch it again");
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorSpec> specs,
                                     const std::map<std::string, std::string>& metadata)
    : file_(path), path_(path), specs_(std::move(specs)) {
    json header = json::object();
    if (!metadata.empty()) header["__metadata__"] = metadata;
    int64_t offset = 0;
    for (const TensorSpec& spec : specs_) {
        const int64_t bytes = checked_bytes(spec.shape, item_size(spec.dtype));
        require(bytes >= 0 && item_size(spec.dtype) != 0 && !header.contains(spec.name), path.string(),
                ": cannot write tensor ", spec.name, " of dtype ", spec.dtype, " and shape ",
                shape_to_string(spec.shape));
        header[spec.name] = {{"dtype", spec.dtype}, {"shape", spec.shape}, {"data_offsets", {offset, offset + bytes}}};
        offset += bytes;
    }
    std::string text = header.dump();
    text.resize(round_up(text.size(), 8), ' ');  // the data starts at a multiple of 8
    std::array<char, 8> length;
    for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xff);
    file_.write({length.data(), length.size()});
    file_.write(text);
}

void SafetensorsWriter::write(const std::string& name, std::span<const std::byte> bytes) {
    const auto complete = [&] { return due_bytes_ == bytes_of(due_); };
    // Nobody writes a tensor without elements: pass over it.
    while (due_ < specs_.size() && specs_[due_].name != name && complete()) ++due_, due_bytes_ = 0;
    require(due_ < specs_.size() && specs_[due_].name == name, path_.string(), ": tensor ", name,
            " was written out of the header's order");
    due_bytes_ += static_cast<int64_t>(bytes.size());
    require(due_bytes_ <= bytes_of(due_), path_.string(), ": tensor ", name,
            " was given more bytes than its shape holds");
    file_.write(bytes);
}

void SafetensorsWriter::leave_zero() {
    int64_t left = -due_bytes_;
    for (; due_ < specs_.size(); ++due_) left += bytes_of(due_);
    due_bytes_ = 0;
    file_.write_hole(left);
}

int64_t SafetensorsWriter::bytes_of(size_t spec) const {
    return checked_bytes(specs_[spec].shape, item_size(specs_[spec].dtype));
}

void SafetensorsWriter::finish() {
    for (; due_ < specs_.size(); ++due_, due_bytes_ = 0) {
        require(due_bytes_ == bytes_of(due_), path_.string(), ": tensor ", specs_[due_].name,
                " was not written to its end");
    }
    file_.commit();
}

}  // namespace llmc
