// Products by a warpgroup, four warps as one (wgmma), which GPUs of compute capability 9.0 have and no others; elsewhere nothing here is
// compiled. A comes from registers and B from shared memory, 64 values of 16 bits a row, whose chunks of 16 bytes are swizzled as
// attention.cuh describes: that is what the hardware calls a swizzle of 128 bytes. Blocks of B begin on 1024 bytes.
#pragma once
#include "common.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
// Where a block of B lies: eight rows are 1024 bytes, whichever way it is read.
__device__ inline uint64_t block_descriptor(const uint4 *block) {
    const uint64_t at = static_cast<uint32_t>(__cvta_generic_to_shared(block));
    return at >> 4 & 0x3fff | 64ull << 16 | 64ull << 32 | 1ull << 62;
}

// d += a * b on 64x16 by 16x64. A thread's part of a and d is, in its warp's 16 rows, that of mma m16n8k16. In shared memory, rows of b lie
// along k with a from registers (weights and values), along n with a from there too (queries and keys).
template <typename T> __device__ inline void warpgroup_mma(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b);
template <typename T> __device__ inline void warpgroup_mma(float (&d)[8][4], uint64_t a, uint64_t b);
#define FOUR(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define ALL(d) FOUR(d, 0), FOUR(d, 1), FOUR(d, 2), FOUR(d, 3), FOUR(d, 4), FOUR(d, 5), FOUR(d, 6), FOUR(d, 7)
#define RESULT                                                                                                                         \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, "   \
    "%27, %28, %29, %30, %31}"
#define WARPGROUP_MMA(T, NAME)                                                                                                         \
    template <> __device__ inline void warpgroup_mma<T>(float (&d)[8][4], const uint32_t (&a)[4], uint64_t b) {                        \
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." NAME "." NAME " " RESULT ", {%32, %33, %34, %35}, %36, 1, 1, 1, 1;" \
                     : ALL(d)                                                                                                          \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b)                                                              \
                     : "memory");                                                                                                      \
    }                                                                                                                                  \
    template <> __device__ inline void warpgroup_mma<T>(float (&d)[8][4], uint64_t a, uint64_t b) {                                    \
        asm volatile("wgmma.mma_async.sync.aligned.m64n64k16.f32." NAME "." NAME " " RESULT ", %32, %33, 1, 1, 1, 0, 0;"               \
                     : ALL(d)                                                                                                          \
                     : "l"(a), "l"(b)                                                                                                  \
                     : "memory");                                                                                                      \
    }
WARPGROUP_MMA(__half, "f16")
WARPGROUP_MMA(__nv_bfloat16, "bf16")

// Registers that products read or add to have their values.
__device__ inline void warpgroup_begin(float (&d)[8][4]) { asm volatile("wgmma.fence.sync.aligned;" : ALL(d)::"memory"); }
__device__ inline void warpgroup_end() { asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory"); }
// All products are done, also those into these two; nothing reads them before.
__device__ inline void warpgroup_wait(float (&d)[8][4]) { asm volatile("wgmma.wait_group.sync.aligned 0;" : ALL(d)::"memory"); }
__device__ inline void warpgroup_wait(float (&d)[8][4], float (&e)[8][4]) {
    warpgroup_wait(d);
    asm volatile("" : ALL(e)::"memory");
}
// All four warps of a group have come so far.
__device__ inline void warpgroup_barrier(int group) { asm volatile("bar.sync %0, 128;" ::"r"(1 + group) : "memory"); }
// What this thread stored in shared memory, products after the next barrier see.
__device__ inline void publish_to_products() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }
#undef FOUR
#undef ALL
#undef RESULT
#undef WARPGROUP_MMA
#else
template <typename T> __device__ inline void warpgroup_mma(float (&)[8][4], const uint32_t (&)[4], uint64_t) {}
template <typename T> __device__ inline void warpgroup_mma(float (&)[8][4], uint64_t, uint64_t) {}
__device__ inline uint64_t block_descriptor(const uint4 *) { return 0; }
__device__ inline void warpgroup_begin(float (&)[8][4]) {}
__device__ inline void warpgroup_end() {}
__device__ inline void warpgroup_wait(float (&)[8][4]) {}
__device__ inline void warpgroup_wait(float (&)[8][4], float (&)[8][4]) {}
__device__ inline void warpgroup_barrier(int) {}
__device__ inline void publish_to_products() {}
#endif
