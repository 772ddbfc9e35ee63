// Every kernel in one unit, which the build compiles for each architecture.
#include "adaptive.cuh"
#include "attention.cuh"
#include "convolution.cuh"
#include "fourier.cuh"
#include "grouped.cuh"
#include "norm.cuh"
#include "residual_unit.cuh"
#include "rows.cuh"
#include "sound.cuh"
#include "spectrum.cuh"

// Names and shapes that `attention` in Rust knows: queries of a block are 16 * warps. Long: 128 queries, two blocks a multiprocessor.
// Grouped: the same by warpgroups, where the hardware has them. Short: a sequence is one block of keys, and a block takes one after
// another; three blocks a multiprocessor leave each the registers it needs and keep enough reads under way.
ATTENTION_LONG_KERNEL(attention_long_f16, __half, 64, 8, 2, false)
ATTENTION_LONG_KERNEL(attention_long_bf16, __nv_bfloat16, 64, 8, 2, false)
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
ATTENTION_LONG_KERNEL(attention_grouped_f16, __half, 64, 8, 2, true)
ATTENTION_LONG_KERNEL(attention_grouped_bf16, __nv_bfloat16, 64, 8, 2, true)
#endif
TURN_KEYS_KERNEL(turn_keys_f16, __half, 64)
TURN_KEYS_KERNEL(turn_keys_bf16, __nv_bfloat16, 64)
ATTENTION_SHORT_KERNEL(attention_short_f16, __half, 64, 4, 3)
ATTENTION_SHORT_KERNEL(attention_short_bf16, __nv_bfloat16, 64, 4, 3)
extern "C" __global__ void __launch_bounds__(128) attention_plain_f32(ATTENTION_ARGUMENTS(float)) {
    attention_plain<64>(qkvg, gate_bias, rotary, out, ATTENTION_SHAPE);
}
