// Every CPU operator, for the model that is written in terms of them.
#pragma once

#include "llmc/cpu/adamw.h"
#include "llmc/cpu/add.h"
#include "llmc/cpu/attention.h"
#include "llmc/cpu/cross_entropy.h"
#include "llmc/cpu/dropout.h"
#include "llmc/cpu/embedding.h"
#include "llmc/cpu/gather.h"
#include "llmc/cpu/gemm.h"
#include "llmc/cpu/global_norm.h"
#include "llmc/cpu/int8_gemm.h"
#include "llmc/cpu/quantize.h"
#include "llmc/cpu/rmsnorm.h"
#include "llmc/cpu/rope.h"
#include "llmc/cpu/rows.h"
#include "llmc/cpu/swiglu.h"
#include "llmc/cpu/transfer.h"
