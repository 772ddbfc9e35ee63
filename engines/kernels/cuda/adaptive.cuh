// What stands between the branches of a transformer that is told the time: gates, norms that time scales and shifts, positions, gated
// activations.
#pragma once
#include "norm.cuh"

// A batch's vectors: `rows` rows of data share one, which lies `stride` values from the last. None where there is no address.
struct Modulation {
    const float *gate, *shift, *scale;
    int gate_stride, stride, rows;
};

// sum = x + gate * delta, normed = norm(sum) * (1 + scale) + shift; without a delta only the norm of x.
template <typename T, int LANES, int CHUNKS>
__device__ inline void residual_norm(const T *x, const T *delta, const float *gamma, const Modulation &modulation, T *sum, T *normed,
                                     int rows, int chunks, float eps) {
    constexpr int N = Pack<T>::N;
    const int lane = threadIdx.x % LANES, index = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    if (index >= rows)
        return;
    const size_t start = static_cast<size_t>(index) * chunks * N, batch = index / modulation.rows;
    const float *const gate = modulation.gate + batch * modulation.gate_stride;
    uint4 own[CHUNKS], other[CHUNKS];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks) {
            const size_t at = start + (c * LANES + lane) * N;
            own[c] = *reinterpret_cast<const uint4 *>(x + at);
            if (delta != nullptr)
                other[c] = *reinterpret_cast<const uint4 *>(delta + at);
        }
    float row[CHUNKS][N];
#pragma unroll
    for (int c = 0; c < CHUNKS; c++)
        if (c * LANES + lane < chunks) {
            Pack<T>::unpack(own[c], row[c]);
            if (delta != nullptr) {
                float d[N], g[N];
                Pack<T>::unpack(other[c], d);
                if (modulation.gate != nullptr)
                    parameters(gate + (c * LANES + lane) * N, g);
#pragma unroll
                for (int i = 0; i < N; i++)
                    row[c][i] += modulation.gate != nullptr ? g[i] * d[i] : d[i];
            }
        }
    if (delta != nullptr)
        store_row<T, LANES, CHUNKS>(sum + start, row, chunks);
    normalise<T, LANES, CHUNKS>(row, gamma, chunks, eps);
    if (modulation.scale != nullptr) {
        const float *const shift = modulation.shift + batch * modulation.stride, *const scale = modulation.scale + batch * modulation.stride;
#pragma unroll
        for (int c = 0; c < CHUNKS; c++)
            if (c * LANES + lane < chunks) {
                float a[N], b[N];
                parameters(scale + (c * LANES + lane) * N, a);
                parameters(shift + (c * LANES + lane) * N, b);
#pragma unroll
                for (int i = 0; i < N; i++)
                    row[c][i] = row[c][i] * (1.0f + a[i]) + b[i];
            }
    }
    store_row<T, LANES, CHUNKS>(normed + start, row, chunks);
}

#define RESIDUAL_NORM_KERNEL(NAME, T, LANES, CHUNKS)                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS) residual_norm_##LANES##x##CHUNKS##_##NAME(                                   \
        const T *x, const T *delta, const float *gamma, const float *gate, const float *shift, const float *scale, T *sum, T *normed,  \
        int gate_stride, int stride, int batch_rows, int rows, int chunks, float eps) {                                                \
        residual_norm<T, LANES, CHUNKS>(x, delta, gamma, {gate, shift, scale, gate_stride, stride, batch_rows}, sum, normed, rows,     \
                                        chunks, eps);                                                                                  \
    }
#define RESIDUAL_NORM_WIDTHS(NAME, T) RESIDUAL_NORM_KERNEL(NAME, T, 32, 4) RESIDUAL_NORM_KERNEL(NAME, T, 32, 8) RESIDUAL_NORM_KERNEL(NAME, T, 32, 16)
RESIDUAL_NORM_WIDTHS(f16, __half)
RESIDUAL_NORM_WIDTHS(bf16, __nv_bfloat16)
RESIDUAL_NORM_WIDTHS(f32, float)

// A head of queries or keys, normed and turned in place: neighbouring lanes have a pack each, and those that share pairs half a head apart.
template <typename T, int D>
__device__ inline void norm_rotary(T *qkv, const float *q_gamma, const float *k_gamma, const float *rotary, int heads, int queries,
                                   int columns, int length, unsigned units, float eps) {
    constexpr int N = Pack<T>::N, LANES = D / N;
    const unsigned unit = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    if (unit >= units)
        return;
    const unsigned row = unit / heads, head = unit - row * heads;
    const int lane = threadIdx.x % LANES;
    T *const at = qkv + static_cast<size_t>(row) * columns + head * D + lane * N;
    float x[1][N];
    load(at, x[0]);
    normalise<T, LANES, 1>(x, head < static_cast<unsigned>(queries) ? q_gamma : k_gamma, LANES, eps);
    const bool upper = lane >= LANES / 2;
    const float *const angles = rotary + static_cast<size_t>(row % length) * D + (lane - (upper ? LANES / 2 : 0)) * N * 2;
    const unsigned mask = LANES == 32 ? 0xffffffffu : ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
    float a[2 * N];
    parameters(angles, a);
#pragma unroll
    for (int i = 0; i < N; i++) {
        const float partner = __shfl_xor_sync(mask, x[0][i], LANES / 2);
        x[0][i] = x[0][i] * a[2 * i] + (upper ? partner : -partner) * a[2 * i + 1];
    }
    store(at, x[0]);
}

// out = silu(gate) * up; `width` packs make a row of out, twice as many a row of x: first the gate.
template <typename T> __device__ inline void swiglu(const T *x, T *out, unsigned packs, unsigned width) {
    constexpr int N = Pack<T>::N;
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= packs)
        return;
    const unsigned row = i / width;
    const size_t gate = (static_cast<size_t>(i) + static_cast<size_t>(row) * width) * N;
    float g[N], u[N];
    load(x + gate, g);
    load(x + gate + static_cast<size_t>(width) * N, u);
#pragma unroll
    for (int k = 0; k < N; k++)
        u[k] *= g[k] * sigmoid(g[k]);
    store(out + static_cast<size_t>(i) * N, u);
}

#define TRANSFORMER_KERNELS(NAME, T)                                                                                                   \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                              \
        norm_rotary_##NAME(T *qkv, const float *q_gamma, const float *k_gamma, const float *rotary, int heads, int queries,            \
                           int columns, int length, unsigned units, float eps) {                                                       \
        norm_rotary<T, 128>(qkv, q_gamma, k_gamma, rotary, heads, queries, columns, length, units, eps);                               \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) swiglu_##NAME(const T *x, T *out, unsigned packs, unsigned width) {          \
        swiglu<T>(x, out, packs, width);                                                                                               \
    }
TRANSFORMER_KERNELS(f16, __half)
TRANSFORMER_KERNELS(bf16, __nv_bfloat16)
TRANSFORMER_KERNELS(f32, float)
