#include "quaff/model/frozen_matrix.h"

#include "llmc/cpu/operators.h"
#include "quaff/model/block.h"
#include "test/catch.h"
#include "test/files.h"
#include "test/quaff/tiny_model.h"

using namespace quaff;

TEST_CASE("a frozen matrix is read, looked up and multiplied in whatever format the file has", "[frozen_matrix]") {
    const std::string dtype = GENERATE("F32", "F16", "BF16");
    const int64_t rows = 1030, cols = 8;  // more rows than are read at a time
    const test::TempDir folder;
    nlohmann::json config = test::tiny_config();
    config["vocab_size"] = rows;
    test::write_tiny_model(folder, config, dtype);
    const ModelFiles checkpoint(folder.path());
    std::vector<float> expected(static_cast<size_t>(rows * cols));
    checkpoint.read(kEmbedding, {expected.data(), rows, cols});

    const cpu::Device device{2};
    Arena<cpu::Device> arena(device, kMemoryKinds);
    FrozenMatrix<cpu::Device> table;
    const DType stored = checkpoint.dtype(kEmbedding);
    arena.build(
        [&](Arena<cpu::Device>& from) { table.layout(from, MemoryKind::embeddings, "table", rows, cols, stored); });
    CHECK(arena.plan().total(MemoryKind::embeddings) >= rows * cols * (dtype == "F32" ? 4 : 2));
    CHECK(arena.plan().total(MemoryKind::embeddings) < rows * cols * (dtype == "F32" ? 4 : 2) + 256);
    table.load(device, checkpoint, kEmbedding);

    const std::vector<int32_t> ids = {0, 1023, 1024, 1029};
    std::vector<float> found(ids.size() * cols);
    table.look_up(device, {found.data(), 4, cols}, ids);
    for (size_t i = 0; i < ids.size(); i++)
        for (int64_t c = 0; c < cols; c++) CHECK(found[i * cols + c] == expected[ids[i] * cols + c]);

    // The product with a unit vector is a column, that of a unit gradient a row.
    std::vector<float> unit(cols), column(static_cast<size_t>(rows)), one(static_cast<size_t>(rows)), row(cols);
    unit[3] = 1;
    one[1025] = 1;
    std::vector<float> workspace(static_cast<size_t>(table.workspace(device, rows, cols, stored)));
    CHECK(workspace.empty() == (dtype == "F32"));
    table.multiply(device, {column.data(), 1, rows}, Matrix<const float>(unit.data(), 1, cols), 0, workspace);
    table.multiply_back(device, {row.data(), 1, cols}, Matrix<const float>(one.data(), 1, rows), workspace);
    // More rows take another way, and may be added to what is there.
    std::vector<float> units(5 * cols), columns(static_cast<size_t>(5 * rows), 2.0f);
    for (int64_t i = 0; i < 5; i++) units[i * cols + i] = 1;
    table.multiply(device, {columns.data(), 5, rows}, Matrix<const float>(units.data(), 5, cols), 0.5f, workspace);
    int64_t wrong = 0;
    for (int64_t i = 0; i < 5; i++)
        for (int64_t v = 0; v < rows; v++) wrong += columns[i * rows + v] != expected[v * cols + i] + 1.0f;
    for (int64_t v = 0; v < rows; v++) wrong += column[v] != expected[v * cols + 3];
    for (int64_t c = 0; c < cols; c++) wrong += row[c] != expected[1025 * cols + c];
    CHECK(wrong == 0);
}

TEST_CASE("linears stay in 16 bits where all their parts have the same ones in the file", "[frozen_matrix]") {
    const test::TempDir folder;
    const nlohmann::json config = test::tiny_config();
    test::write_tiny_model(folder, config, "BF16");
    std::vector<TensorSpec> specs = test::weight_specs(ModelFiles(folder.path()).config(), "BF16");
    const auto ends_with = [](const std::string& name, const std::string& end) { return name.ends_with(end); };
    for (TensorSpec& spec : specs) {
        if (ends_with(spec.name, "k_proj.weight")) spec.dtype = "F32";                     // a part of the first linear
        if (ends_with(spec.name, "layers.1.self_attn.o_proj.weight")) spec.dtype = "F16";  // in one of two blocks
        if (ends_with(spec.name, "down_proj.weight")) spec.dtype = "F16";
    }
    test::write_tensors(folder.path() / "model.safetensors", specs);
    CHECK(stored_types(ModelFiles(folder.path())) ==
          std::vector<DType>{DType::f32, DType::f32, DType::bf16, DType::f16});
}
