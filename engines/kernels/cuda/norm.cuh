// Normalisation by the root mean square, fused with the sums around it.
//
// A row is read once and stays in registers: LANES neighbouring threads share it, each with up to CHUNKS packs, LANES packs apart so that
// a warp's loads are coalesced. Half a warp suits rows of 384 16-bit values (48 packs); wider rows take a whole one.
#pragma once
#include "common.cuh"

// Which results a kernel writes.
enum NormMode {
    NORM,      // first = norm(x)
    ADD_NORM,  // first = x + delta + bias, second = norm(first)
    ADD_NORM_2 // first = norm(x + delta + bias), second = norm(first) by gamma_next
};

template <int LANES> __device__ inline float sum_over_lanes(float value) {
    // Rows end together within a group of lanes only, so a group shuffles by itself.
    const unsigned mask = LANES == 32 ? 0xffffffffu : ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
#pragma unroll
    for (int step = LANES / 2; step > 0; step /= 2)
        value += __shfl_xor_sync(mask, value, step);
    return value;
}

// Turns the row into row * gamma / sqrt(mean(row^2) + eps).
template <typename T, int LANES, int CHUNKS>
__device__ inline void normalise(float (&row)[CHUNKS][Pack<T>::N], const float *gamma, int chunks, float eps) {
    constexpr int N = Pack<T>::N;
    const int lane = threadIdx.x % LANES;
    float squares = 0.0f;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks)
#pragma unroll
            for (int i = 0; i < N; i++)
                squares += row[c][i] * row[c][i];
    const float scale = rsqrtf(sum_over_lanes<LANES>(squares) / static_cast<float>(chunks * N) + eps);
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks) {
            float g[N];
            parameters(gamma + (c * LANES + lane) * N, g);
#pragma unroll
            for (int i = 0; i < N; i++)
                row[c][i] *= scale * g[i];
        }
}

template <typename T, int LANES, int CHUNKS>
__device__ inline void store_row(T *to, const float (&row)[CHUNKS][Pack<T>::N], int chunks) {
    const int lane = threadIdx.x % LANES;
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks)
            store(to + (c * LANES + lane) * Pack<T>::N, row[c]);
}

template <typename T, int LANES, int CHUNKS, NormMode MODE>
__device__ inline void norm(const T *x, const T *delta, const float *bias, const float *gamma, const float *gamma_next, T *first,
                            T *second, int rows, int chunks, float eps) {
    constexpr int N = Pack<T>::N;
    const int lane = threadIdx.x % LANES;
    const int index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    if (index >= rows)
        return;
    const size_t start = static_cast<size_t>(index) * chunks * N;
    // All loads are under way before the first is used.
    uint4 own[CHUNKS], other[CHUNKS];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks) {
            const size_t at = start + (c * LANES + lane) * N;
            own[c] = *reinterpret_cast<const uint4 *>(x + at);
            if (MODE != NORM)
                other[c] = *reinterpret_cast<const uint4 *>(delta + at);
        }
    float row[CHUNKS][N];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks) {
            Pack<T>::unpack(own[c], row[c]);
            if (MODE != NORM) {
                float d[N];
                Pack<T>::unpack(other[c], d);
#pragma unroll
                for (int i = 0; i < N; i++)
                    row[c][i] += d[i];
                if (bias != nullptr) {
                    parameters(bias + (c * LANES + lane) * N, d);
#pragma unroll
                    for (int i = 0; i < N; i++)
                        row[c][i] += d[i];
                }
            }
        }
    if (MODE == ADD_NORM)
        store_row<T, LANES, CHUNKS>(first + start, row, chunks);
    normalise<T, LANES, CHUNKS>(row, gamma, chunks, eps);
    if (MODE == ADD_NORM) {
        store_row<T, LANES, CHUNKS>(second + start, row, chunks);
        return;
    }
    store_row<T, LANES, CHUNKS>(first + start, row, chunks);
    if (MODE == ADD_NORM_2) {
        normalise<T, LANES, CHUNKS>(row, gamma_next, chunks, eps);
        store_row<T, LANES, CHUNKS>(second + start, row, chunks);
    }
}

#define NORM_KERNELS(NAME, T, LANES, CHUNKS)                                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS) rms_norm_##LANES##x##CHUNKS##_##NAME(                                       \
        const T *x, const float *gamma, T *out, int rows, int chunks, float eps) {                                                     \
        norm<T, LANES, CHUNKS, NORM>(x, nullptr, nullptr, gamma, nullptr, out, nullptr, rows, chunks, eps);                            \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) add_rms_norm_##LANES##x##CHUNKS##_##NAME(                                   \
        const T *x, const T *delta, const float *bias, const float *gamma, T *first, T *second, int rows, int chunks, float eps) {     \
        norm<T, LANES, CHUNKS, ADD_NORM>(x, delta, bias, gamma, nullptr, first, second, rows, chunks, eps);                            \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) add_rms_norm_twice_##LANES##x##CHUNKS##_##NAME(                             \
        const T *x, const T *delta, const float *bias, const float *gamma, const float *gamma_next, T *first, T *second, int rows,     \
        int chunks, float eps) {                                                                                                       \
        norm<T, LANES, CHUNKS, ADD_NORM_2>(x, delta, bias, gamma, gamma_next, first, second, rows, chunks, eps);                       \
    }
#define NORM_WIDTHS(NAME, T) NORM_KERNELS(NAME, T, 16, 3) NORM_KERNELS(NAME, T, 32, 4) NORM_KERNELS(NAME, T, 32, 10)
NORM_WIDTHS(f16, __half)
NORM_WIDTHS(bf16, __nv_bfloat16)
NORM_WIDTHS(f32, float)
