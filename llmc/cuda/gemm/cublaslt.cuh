// Matrix products by cuBLASLt, column-major as the library has them:
//
//   D[m,n] = alpha op(A)[m,k] op(B)[k,n] + beta D       with beta = 0 the old D is not read
//
// in bf16, fp16 or float (sums and alpha, beta in fp32), or int8 x int8 -> int32 (alpha 1, beta 0). gemm.cuh and
// int8_gemm.cuh say what row-major products these are.
//
// The library has several algorithms for every product, and its own ranking is a guess. BlasLt times the first few,
// once, on scratch memory. The clock may pick another one in the next run, which changes the order of a sum and its
// last bits; so nothing is timed unless the choice can be kept: one file per GPU model and library version, one line
// per kind of product, of which the first counts. Without a file the library's first choice is taken. Products whose m,
// n and k round up to the same three leading bits are of one kind, because the number of packed tokens changes with
// every micro-batch. Timing takes memory and waits for the GPU: a training run does it in a rehearsal and stops it
// before the first step.
//
// An algorithm is always named, never left to the call: a null one would be looked up at every call. A sum split over k
// is put together in fp32, never in a 16-bit output type; PEDANTIC and TF32 arithmetic are not used.
//
// What GPUs need. Turing (7.5): int8 and fp16 tensor cores, no bf16. Its L2 is small, 4 MiB on a T4. Hopper (9.0): the
// kernels that fill it split k and load through the tensor memory accelerator, hence 32 MiB of workspace, and addresses
// and columns that are multiples of 16 bytes. All: int8 tensor cores take A transposed and B not.
#pragma once

#include <cublasLt.h>
#include <cuda_runtime.h>

#include <compare>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace cuda {

// Loads cuBLASLt, which otherwise its first use does. Throws Error if it is missing.
void load_cublaslt();

// A product, as far as it matters to the choice of an algorithm.
struct Product {
    cudaDataType_t in, out;  // of A and B; of D
    bool transpose_a, transpose_b;
    int64_t m, n, k;
    int64_t lda, ldb, ldd;                      // elements from one column to the next
    int alignment_a, alignment_b, alignment_d;  // bytes, of the address and of every column: see alignment_of

    auto operator<=>(const Product&) const = default;
};

// The largest power of two, at most 256, that divides the address and the distance between columns.
int alignment_of(const void* address, int64_t column_bytes);

// `value` rounded up to three leading bits. Sizes that give the same have products of the same kind.
int64_t size_class(int64_t value);

class BlasLt {
  public:
    // What Hopper's algorithms want; older GPUs use less.
    static constexpr int64_t kWorkspaceBytes = int64_t{32} << 20;

    // `workspace`: device memory at a multiple of 256 that nothing else uses. Products on different streams would
    // overwrite each other's: use one stream. `choices_directory`: where the file of timed choices lies, such as the
    // user's cache directory; if it is empty or not writable, nothing is timed.
    BlasLt(void* workspace, int64_t workspace_bytes, const std::filesystem::path& choices_directory);
    ~BlasLt();
    BlasLt(const BlasLt&) = delete;
    BlasLt& operator=(const BlasLt&) = delete;

    // Chooses the algorithm now; needs no operands.
    void prepare(const Product& product) { plan(product); }
    // From now on a kind of product that has no choice yet takes the library's first.
    void stop_timing() { times_ = false; }
    bool times() const { return times_ && can_keep_choices(); }

    void multiply(cudaStream_t stream, const Product& product, float alpha, const void* a, const void* b, float beta,
                  void* d);

    // <choices_directory>/cublaslt-<GPU>-<version>.txt, or empty.
    const std::filesystem::path& choices_file() const { return choices_file_; }

  private:
    struct Plan {
        bool integers;
        cublasLtMatmulDescOpaque_t operation;
        cublasLtMatrixLayoutOpaque_t a, b, d;
        cublasLtMatmulAlgo_t algorithm;
    };

    Plan& plan(const Product& product);
    cublasLtMatmulAlgo_t choose(Plan& plan, const Product& product);
    bool fits(Plan& plan, const cublasLtMatmulAlgo_t& algorithm);
    std::vector<cublasLtMatmulAlgo_t> candidates(Plan& plan, const Product& product);
    std::optional<size_t> find_fastest(Plan& plan, const Product& product,
                                       const std::vector<cublasLtMatmulAlgo_t>& algorithms);
    cublasStatus_t run(cudaStream_t stream, Plan& plan, const cublasLtMatmulAlgo_t& algorithm, float alpha,
                       const void* a, const void* b, float beta, void* d);
    void read_choices();
    bool can_keep_choices() const;
    void keep_choice(const std::string& kind, const cublasLtMatmulAlgo_t& algorithm);

    cublasLtHandle_t handle_ = nullptr;
    void* workspace_;
    int64_t workspace_bytes_;
    std::filesystem::path choices_file_;
    bool times_ = true;
    std::map<std::string, cublasLtMatmulAlgo_t> choices_;  // by kind of product
    std::map<Product, Plan> plans_;
};

}  // namespace cuda
