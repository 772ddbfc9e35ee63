// Products by a warpgroup of 128 columns, as warpgroup.cuh has them of 64: d += a * b on 64x16 by 16x128, both from shared memory, where
// rows of either lie along k.
#pragma once
#include "warpgroup.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
template <typename T> __device__ inline void warpgroup_mma(float (&d)[16][4], uint64_t a, uint64_t b);
#define FOUR(d, i) "+f"(d[i][0]), "+f"(d[i][1]), "+f"(d[i][2]), "+f"(d[i][3])
#define EIGHT(d, i) FOUR(d, i), FOUR(d, i + 1)
#define ALL(d) EIGHT(d, 0), EIGHT(d, 2), EIGHT(d, 4), EIGHT(d, 6), EIGHT(d, 8), EIGHT(d, 10), EIGHT(d, 12), EIGHT(d, 14)
#define RESULT                                                                                                                         \
    "{%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, "                                                          \
    "%16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31, "                                                 \
    "%32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, "                                                 \
    "%48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63}"
#define WARPGROUP_MMA(T, NAME)                                                                                                         \
    template <> __device__ inline void warpgroup_mma<T>(float (&d)[16][4], uint64_t a, uint64_t b) {                                   \
        asm volatile("wgmma.mma_async.sync.aligned.m64n128k16.f32." NAME "." NAME " " RESULT ", %64, %65, 1, 1, 1, 0, 0;"              \
                     : ALL(d)                                                                                                          \
                     : "l"(a), "l"(b)                                                                                                  \
                     : "memory");                                                                                                      \
    }
WARPGROUP_MMA(__half, "f16")
WARPGROUP_MMA(__nv_bfloat16, "bf16")

__device__ inline void warpgroup_begin(float (&d)[16][4]) { asm volatile("wgmma.fence.sync.aligned;" : ALL(d)::"memory"); }
__device__ inline void warpgroup_wait(float (&d)[16][4]) { asm volatile("wgmma.wait_group.sync.aligned 0;" : ALL(d)::"memory"); }
#undef FOUR
#undef EIGHT
#undef ALL
#undef RESULT
#undef WARPGROUP_MMA
#endif
