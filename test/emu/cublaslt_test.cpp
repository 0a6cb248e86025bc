// The emulated cuBLASLt refuses what the real one refuses, and BlasLt uses it as the real one must be used.
#include "llmc/cuda/gemm/cublaslt.cuh"

#include <numeric>

#include "llmc/core/error.h"
#include "llmc/cuda/gemm/int8_gemm.cuh"
#include "test/files.h"
#include "test/llmc/cuda/blas.h"

using namespace cuda_test;
using cuda::BlasLt;
using cuda::Product;

namespace {

// Resets the emulated library and machine before and after the test.
struct Restore {
    Restore() { reset(); }
    ~Restore() { reset(); }
    static void reset() {
        emu::blas() = {};
        emu::machine() = {};
    }
};

struct Library {
    cublasLtHandle_t handle = nullptr;
    Library() { REQUIRE(cublasLtCreate(&handle) == CUBLAS_STATUS_SUCCESS); }
    ~Library() { cublasLtDestroy(handle); }
};

// A valid call of the library; a test makes one thing wrong.
struct Call {
    cublasComputeType_t compute;
    cudaDataType_t scale, a_type, b_type, d_type;
    int32_t transpose_a = CUBLAS_OP_T, transpose_b = CUBLAS_OP_N;
    uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
    uint64_t a_rows = 32, a_cols = 16, b_rows = 32, b_cols = 8, d_rows = 16, d_cols = 8;
    int64_t lda = 32, ldb = 32, ldd = 16;
    int64_t a_offset = 0, workspace_offset = 0;  // bytes
    uint32_t alignment = 256;                    // promised to the heuristic
    uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
    uint64_t promised_workspace = 1 << 16, workspace = 1 << 16;
    bool name_algorithm = true;
    size_t algorithm = 0;  // which of the heuristic's

    std::vector<cublasLtMatmulHeuristicResult_t> offered = {};
    DeviceVector<float> d = DeviceVector<float>(16 * 8);

    static Call int8() { return {CUBLAS_COMPUTE_32I, CUDA_R_32I, CUDA_R_8I, CUDA_R_8I, CUDA_R_32I}; }
    static Call floats(cudaDataType_t in, cudaDataType_t out) { return {CUBLAS_COMPUTE_32F, CUDA_R_32F, in, in, out}; }

    // The status of the heuristic, or of the product if the heuristic offers an algorithm.
    cublasStatus_t run() {
        const Library library;
        const cublasLtHandle_t handle = library.handle;
        cublasLtMatmulDescOpaque_t desc;
        cublasLtMatmulDescInit_internal(&desc, sizeof(desc), compute, scale);
        cublasLtMatmulDescSetAttribute(&desc, CUBLASLT_MATMUL_DESC_TRANSA, &transpose_a, sizeof(transpose_a));
        cublasLtMatmulDescSetAttribute(&desc, CUBLASLT_MATMUL_DESC_TRANSB, &transpose_b, sizeof(transpose_b));
        cublasLtMatmulDescSetAttribute(&desc, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue));
        cublasLtMatrixLayoutOpaque_t a, b, c;
        cublasLtMatrixLayoutInit_internal(&a, sizeof(a), a_type, a_rows, a_cols, lda);
        cublasLtMatrixLayoutInit_internal(&b, sizeof(b), b_type, b_rows, b_cols, ldb);
        cublasLtMatrixLayoutInit_internal(&c, sizeof(c), d_type, d_rows, d_cols, ldd);
        cublasLtMatmulPreferenceOpaque_t preference;
        cublasLtMatmulPreferenceInit_internal(&preference, sizeof(preference));
        cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &promised_workspace,
                                             sizeof(promised_workspace));
        cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK, &reductions,
                                             sizeof(reductions));
        cublasLtMatmulPreferenceSetAttribute(&preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, &alignment,
                                             sizeof(alignment));
        offered.resize(emu::Blas::kAlgorithms);
        int count = 0;
        cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(handle, &desc, &a, &b, &c, &c, &preference,
                                                               emu::Blas::kAlgorithms, offered.data(), &count);
        offered.resize(static_cast<size_t>(count));
        if (status == CUBLAS_STATUS_SUCCESS) {
            // Small numbers in every type.
            const DeviceVector<char> memory(std::vector<char>(1 << 12, 0x3c)), scratch(1 << 17);
            const float one = 1, zero = 0;
            const int32_t int_one = 1, int_zero = 0;
            const bool integers = compute == CUBLAS_COMPUTE_32I;
            status = cublasLtMatmul(handle, &desc, integers ? static_cast<const void*>(&int_one) : &one,
                                    memory.data() + a_offset, &a, memory.data(), &b,
                                    integers ? static_cast<const void*>(&int_zero) : &zero, d.data(), &c, d.data(), &c,
                                    name_algorithm ? &offered[algorithm].algo : nullptr,
                                    scratch.data() + workspace_offset, workspace, nullptr);
        }
        return status;
    }
};

constexpr cublasStatus_t kDone = CUBLAS_STATUS_SUCCESS;
constexpr cublasStatus_t kUnsupported = CUBLAS_STATUS_NOT_SUPPORTED;
constexpr cublasStatus_t kInvalid = CUBLAS_STATUS_INVALID_VALUE;

// `call` with one thing changed.
template <class Change>
cublasStatus_t with(Call call, Change change) {
    change(call);
    return call.run();
}

Product fp32_product(int64_t m, int64_t n, int64_t k) {
    return {CUDA_R_32F, CUDA_R_32F, true, false, m, n, k, k, k, m, 256, 256, 256};
}

// Which algorithms have run since the last call.
std::array<int64_t, emu::Blas::kAlgorithms> take_runs() {
    return std::exchange(emu::blas().runs, {});
}

int64_t total(const std::array<int64_t, emu::Blas::kAlgorithms>& runs) {
    return std::accumulate(runs.begin(), runs.end(), int64_t{0});
}

struct Operands {
    DeviceVector<char> workspace{1 << 20};
    DeviceVector<float> a, b, d;
    explicit Operands(const Product& p)
        : a(std::vector<float>(p.lda * p.m, 0.5f)),
          b(std::vector<float>(p.ldb * p.n, 2.0f)),
          d(std::vector<float>(p.ldd * p.n, 3.0f)) {}
    BlasLt blas(const std::filesystem::path& directory) const {
        return BlasLt(workspace.data(), static_cast<int64_t>(workspace.size()), directory);
    }
    void multiply(BlasLt& blas, const Product& p, float beta = 0) const {
        blas.multiply(nullptr, p, 1, a.data(), b.data(), beta, d.data());
    }
};

int64_t lines_of(const std::filesystem::path& file) {
    const std::string text = test::read(file);
    return std::count(text.begin(), text.end(), '\n');
}

}  // namespace

TEST_CASE("the emulated cuBLASLt multiplies int8 only as its rules say", "[emu][cublaslt]") {
    const Restore restore;
    CHECK(Call::int8().run() == kDone);
    const auto refused = [&](auto change) { return with(Call::int8(), change) == kUnsupported; };
    // Shapes stay 16 x 8 over 32, so that only the transposition is wrong.
    const auto a_as_it_lies = [](Call& c) { c.transpose_a = CUBLAS_OP_N, c.a_rows = 16, c.a_cols = 32, c.lda = 16; };
    const auto b_transposed = [](Call& c) { c.transpose_b = CUBLAS_OP_T, c.b_rows = 8, c.b_cols = 32; };
    CHECK(refused(a_as_it_lies));
    CHECK(refused(b_transposed));
    CHECK(refused([&](Call& c) { a_as_it_lies(c), b_transposed(c); }));
    for (const cudaDataType_t out : {CUDA_R_8I, CUDA_R_16BF, CUDA_R_16F, CUDA_R_32F}) {
        CHECK(refused([&](Call& c) { c.d_type = out; }));
    }
    CHECK(refused([](Call& c) { c.scale = CUDA_R_32F; }));
    CHECK(refused([](Call& c) { c.compute = CUBLAS_COMPUTE_32F, c.scale = CUDA_R_32F; }));
    CHECK(refused([](Call& c) { c.compute = CUBLAS_COMPUTE_32I_PEDANTIC; }));
    CHECK(refused([](Call& c) { c.b_type = CUDA_R_16F; }));
    CHECK(refused([](Call& c) { c.epilogue = CUBLASLT_EPILOGUE_BIAS; }));
    CHECK(refused([](Call& c) { c.a_cols = c.d_rows = 14; }));  // m
    CHECK(refused([](Call& c) { c.a_rows = c.b_rows = 30; }));  // k
    CHECK(refused([](Call& c) { c.lda = 34; }));
    CHECK(refused([](Call& c) { c.ldb = 33; }));
    CHECK(refused([](Call& c) { c.ldd = 18; }));
    CHECK(with(Call::int8(), [](Call& c) { c.b_cols = c.d_cols = 7; }) == kDone);  // n may be anything
    CHECK(refused([](Call& c) { c.alignment = 2; }));
    CHECK(refused([](Call& c) { c.a_offset = 4; }));  // of an algorithm that was promised 256
    CHECK(with(Call::int8(), [](Call& c) { c.alignment = c.a_offset = 4; }) == kDone);
    emu::machine().major = 7, emu::machine().minor = 0;
    CHECK(Call::int8().run() == kUnsupported);
}

TEST_CASE("the emulated cuBLASLt sums int8 products exactly", "[emu][cublaslt]") {
    const Restore restore;
    Call call = Call::int8();
    REQUIRE(call.run() == kDone);
    for (const float bits : call.d.download()) CHECK(std::bit_cast<int32_t>(bits) == 32 * 0x3c * 0x3c);
}

TEST_CASE("the emulated cuBLASLt multiplies floats in the types that exist", "[emu][cublaslt]") {
    const Restore restore;
    for (const cudaDataType_t in : {CUDA_R_16BF, CUDA_R_16F, CUDA_R_32F}) {
        CHECK(Call::floats(in, in).run() == kDone);
        CHECK(Call::floats(in, CUDA_R_32F).run() == kDone);
        CHECK(Call::floats(in, CUDA_R_32I).run() == kUnsupported);
        CHECK(with(Call::floats(in, in), [](Call& c) { c.compute = CUBLAS_COMPUTE_32F_PEDANTIC; }) == kUnsupported);
        CHECK(with(Call::floats(in, in), [](Call& c) { c.compute = CUBLAS_COMPUTE_32F_FAST_TF32; }) == kUnsupported);
        CHECK(with(Call::floats(in, in), [](Call& c) { c.epilogue = CUBLASLT_EPILOGUE_BIAS; }) == kUnsupported);
    }
    CHECK(Call::floats(CUDA_R_16BF, CUDA_R_16F).run() == kUnsupported);
    CHECK(Call::floats(CUDA_R_32F, CUDA_R_16F).run() == kUnsupported);
    emu::machine().major = 7, emu::machine().minor = 5;
    CHECK(Call::floats(CUDA_R_16BF, CUDA_R_16BF).run() == kUnsupported);
    CHECK(Call::floats(CUDA_R_16F, CUDA_R_16F).run() == kDone);
}

TEST_CASE("the emulated cuBLASLt wants an algorithm, its workspace and layouts that fit", "[emu][cublaslt]") {
    const Restore restore;
    const auto changed = [](auto change) { return with(Call::floats(CUDA_R_16F, CUDA_R_16F), change); };
    CHECK(changed([](Call& c) { c.name_algorithm = false; }) == kInvalid);
    CHECK(changed([](Call& c) { c.algorithm = 1; }) == kDone);
    CHECK(changed([](Call& c) { c.algorithm = 1, c.workspace = 512; }) == kInvalid);
    CHECK(changed([](Call& c) { c.workspace_offset = 128; }) == kInvalid);
    CHECK(changed([](Call& c) { c.a_rows = 28; }) == kInvalid);
    CHECK(changed([](Call& c) { c.d_cols = 9; }) == kInvalid);
    CHECK(changed([](Call& c) { c.lda = 31; }) == kInvalid);
    CHECK(changed([](Call& c) { c.b_cols = c.d_cols = 0; }) == kInvalid);
    CHECK_THROWS_WITH(changed([](Call& c) { c.a_offset = 1 << 12; }),
                      Catch::Matchers::ContainsSubstring("matrix A of 32 x 16"));
}

TEST_CASE("the emulated heuristic offers several algorithms and keeps to the preferences", "[emu][cublaslt]") {
    const Restore restore;
    const auto offers = [](auto change) {
        Call call = Call::floats(CUDA_R_16F, CUDA_R_16F);
        change(call);
        call.run();
        return call.offered.size();
    };
    CHECK(offers([](Call&) {}) == 4);
    CHECK(offers([](Call& c) { c.promised_workspace = 0; }) == 2);
    CHECK(offers([](Call& c) { c.reductions = CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE; }) == 3);
    CHECK(offers([](Call& c) { c.reductions = CUBLASLT_REDUCTION_SCHEME_NONE; }) == 2);
    CHECK(offers([](Call& c) { c.alignment = 8; }) == 2);
    CHECK(offers([](Call& c) { c.lda = 33; }) == 2);
    CHECK(offers([](Call& c) { c.alignment = 1; }) == 0);
}

TEST_CASE("without a file of choices nothing is timed and the library's first algorithm runs", "[cuda][cublaslt]") {
    const Restore restore;
    emu::blas().fastest = 1;
    const test::TempDir temporary;
    const Product product = fp32_product(16, 8, 32);
    const Operands operands(product);
    const bool has_directory = GENERATE(false, true);
    BlasLt blas = operands.blas(has_directory ? temporary.write("file", "") / "not a directory" : "");
    operands.multiply(blas, product);
    CHECK(take_runs() == std::array<int64_t, 4>{1, 0, 0, 0});
}

TEST_CASE("the fastest algorithm is found once, kept in a file and used from there", "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const auto directory = temporary / "cache/train_quaff";
    const Product product = fp32_product(16, 8, 32);
    const Operands operands(product);
    const int fastest = GENERATE(0, 1, 3);
    emu::blas().fastest = fastest;
    {
        BlasLt blas = operands.blas(directory);
        blas.prepare(product);
        const auto timed = take_runs();
        CHECK(timed[0] > 1);
        CHECK(timed[1] > 1);
        CHECK(timed[2] == 0);  // would round parts of a sum to the output type
        CHECK(timed[3] > 1);
        CHECK(blas.choices_file() == directory / "cublaslt-Emulated_GPU_sm_80-130000.txt");
        CHECK(lines_of(blas.choices_file()) == 1);
        operands.multiply(blas, product);
        CHECK(take_runs()[fastest] == 1);
    }
    emu::blas().fastest = -1;
    BlasLt again = operands.blas(directory);
    const int64_t asked = emu::blas().heuristics;
    operands.multiply(again, product);
    CHECK(emu::blas().heuristics == asked);
    const auto runs = take_runs();
    CHECK(runs[fastest] == 1);
    CHECK(total(runs) == 1);

    emu::blas().version++;  // an algorithm's words are those of one version
    BlasLt newer = operands.blas(directory);
    newer.prepare(product);
    CHECK(total(take_runs()) > 1);
}

TEST_CASE("once timing has been stopped, what has a choice keeps it and what has none takes the first",
          "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const Product known = fp32_product(16, 8, 32), other = fp32_product(64, 8, 32);
    const Operands operands(other);
    emu::blas().fastest = 1;
    BlasLt blas = operands.blas(temporary.path());
    blas.prepare(known);
    blas.stop_timing();
    take_runs();
    operands.multiply(blas, known);
    CHECK(take_runs() == std::array<int64_t, 4>{0, 1, 0, 0});
    operands.multiply(blas, other);
    CHECK(take_runs() == std::array<int64_t, 4>{1, 0, 0, 0});
    CHECK(lines_of(blas.choices_file()) == 1);
}

TEST_CASE("products of one kind are timed once", "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const Product product = fp32_product(64, 1000, 32);
    const Operands operands(product);
    BlasLt blas = operands.blas(temporary.path());
    blas.prepare(product);
    take_runs();
    for (const int64_t n : {897, 960, 1024}) blas.prepare(fp32_product(64, n, 32));
    CHECK(total(take_runs()) == 0);
    CHECK(lines_of(blas.choices_file()) == 1);
    blas.prepare(fp32_product(64, 896, 32));
    CHECK(total(take_runs()) > 0);
    CHECK(lines_of(blas.choices_file()) == 2);
}

TEST_CASE("a choice that a product of its kind has no workspace for is passed over", "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const Product small = fp32_product(16, 897, 8), large = fp32_product(16, 1024, 8);
    const Operands operands(large);
    emu::blas().fastest = 1;  // 8 bytes of workspace for each element
    BlasLt blas(operands.workspace.data(), 8 * 16 * 900, temporary.path());
    blas.prepare(small);
    take_runs();
    operands.multiply(blas, small);
    CHECK(take_runs() == std::array<int64_t, 4>{0, 1, 0, 0});
    operands.multiply(blas, large);
    CHECK(take_runs() == std::array<int64_t, 4>{1, 0, 0, 0});
}

TEST_CASE("timing leaves what is added to as it was", "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const Product product = fp32_product(16, 8, 32);
    const Operands operands(product);
    BlasLt blas = operands.blas(temporary.path());
    operands.multiply(blas, product, 1);
    CHECK(operands.d.download() == std::vector<float>(16 * 8, 32 * 0.5f * 2.0f + 3.0f));
}

TEST_CASE("what is damaged in the file of choices is passed over, and the first line of a kind stands",
          "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const Product product = fp32_product(16, 8, 32);
    const Operands operands(product);
    emu::blas().fastest = 3;
    const auto file = operands.blas(temporary.path()).choices_file();
    { operands.blas(temporary.path()).prepare(product); }
    const std::string line = test::read(file);
    const std::string kind = line.substr(0, line.find(' '));
    const std::string name = file.filename().string();
    emu::blas().fastest = 0;
    take_runs();
    const auto runs_with = [&](const std::string& content) {
        temporary.write(name, content);
        BlasLt blas = operands.blas(temporary.path());
        operands.multiply(blas, product);
        return take_runs();
    };
    CHECK(runs_with("\x01\xff\n\n" + kind + " 1 2 3\n" + line + kind + " 0 0 0 0 0 0 0 0\n") ==
          std::array<int64_t, 4>{0, 0, 0, 1});
    CHECK(total(runs_with(line.substr(0, line.size() / 2))) > 1);  // a line cut short: timed again
    CHECK(runs_with(kind + " 0 0 0 0 0 0 0 0\n") == std::array<int64_t, 4>{1, 0, 0, 0});  // no algorithm at all
}

TEST_CASE("where there is no memory to time in, the library's first algorithm runs", "[cuda][cublaslt]") {
    const Restore restore;
    const test::TempDir temporary;
    const Product product = fp32_product(512, 512, 512);
    const Operands operands(product);
    BlasLt blas = operands.blas(temporary.path());
    emu::machine().memory = (4 << 20) + (1 << 19);  // 1 MiB of workspace and 3 of operands are taken
    emu::blas().fastest = 1;
    operands.multiply(blas, product);
    CHECK(take_runs() == std::array<int64_t, 4>{1, 0, 0, 0});
    CHECK_FALSE(std::filesystem::exists(blas.choices_file()));
    CHECK(cudaGetLastError() == cudaSuccess);
}

TEST_CASE("a product that cuBLASLt does not take is a sentence with its shape and types", "[cuda][cublaslt]") {
    const Restore restore;
    const Product floats = fp32_product(16, 8, 32);
    const Operands operands(floats);
    BlasLt blas = operands.blas({});
    Product odd = floats;
    odd.in = CUDA_R_8I, odd.out = CUDA_R_32I, odd.k = 30;
    CHECK_THROWS_WITH(
        operands.multiply(blas, odd),
        Catch::Matchers::ContainsSubstring("no algorithm for the product D[16,8] over k = 30 (int8->int32,TN, "
                                           "leading dimensions 32, 32, 16") &&
            Catch::Matchers::ContainsSubstring("not supported") && Catch::Matchers::ContainsSubstring("7.5"));
    blas.prepare(floats);
    emu::blas().failing_call = 1;
    CHECK_THROWS_WITH(
        operands.multiply(blas, floats),
        Catch::Matchers::ContainsSubstring("cuBLASLt failed on the product D[16,8] over k = 32 (fp32->fp32,TN") &&
            Catch::Matchers::ContainsSubstring("failed to execute"));
    for (const int call : {1, 2, 3, 4, 5, 6, 7, 8}) {  // every call of a plan, one after the other
        BlasLt fresh = operands.blas({});
        emu::blas().failing_call = call;
        CHECK_THROWS_AS(operands.multiply(fresh, floats), llmc::Error);
    }
    emu::blas().failing_call = 1;
    CHECK_THROWS_WITH(operands.blas({}), Catch::Matchers::ContainsSubstring("cannot be started"));
    emu::blas().failing_call = 0;
    CHECK_THROWS_WITH(BlasLt(operands.workspace.data() + 16, 1024, {}),
                      Catch::Matchers::ContainsSubstring("multiple of 256"));
}

TEST_CASE("the alignment promised to cuBLASLt divides the address and every column", "[cuda][cublaslt]") {
    const auto address = [](uintptr_t value) { return reinterpret_cast<const void*>(value); };
    CHECK(cuda::alignment_of(address(4096), 512) == 256);
    CHECK(cuda::alignment_of(address(4096), 48) == 16);
    CHECK(cuda::alignment_of(address(4096 + 8), 512) == 8);
    CHECK(cuda::alignment_of(address(4096 + 8), 6) == 2);
}
