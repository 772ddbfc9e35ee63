// Every kernel in one unit, which the build compiles for each architecture.
#include "attention.cuh"
#include "norm.cuh"
#include "rows.cuh"
#include "spectrum.cuh"

// Names and shapes that `attention` in Rust knows: queries of a block are 16 * M * warps. Long: 128 queries, two blocks a multiprocessor,
// each warp with two tiles so that a key read from shared memory serves twice. Short: a sequence is one block, and many of them are under
// way at once, since they wait for memory.
ATTENTION_KERNEL(attention_long_f16, __half, 64, 4, 2, true, 2)
ATTENTION_KERNEL(attention_long_bf16, __nv_bfloat16, 64, 4, 2, true, 2)
ATTENTION_KERNEL(attention_short_f16, __half, 64, 4, 1, false, 5)
ATTENTION_KERNEL(attention_short_bf16, __nv_bfloat16, 64, 4, 1, false, 5)
extern "C" __global__ void __launch_bounds__(128) attention_plain_f32(ATTENTION_ARGUMENTS(float)) {
    attention_plain<64>(qkvg, gate_bias, rotary, out, ATTENTION_SHAPE);
}
