// What stands between the branches of a transformer that is told the time: gates, norms that time scales and shifts, positions, gated
// activations.
#pragma once
#include "norm.cuh"

// A batch's vectors: `rows` rows of data share one, which lies `stride` values from the last. None where there is no address.
struct Modulation {
    const float *gate, *shift, *scale;
    int gate_stride, stride, rows;
};

// Rows that a block has. Their vectors are f32, and of one row more than its data: they are read once for all.
constexpr int NORM_ROWS = 4;
// Threads of a block: as many as a row has packs, in whole warps.
constexpr int NORM_THREADS = 512;

// Sums of NORM_ROWS values over a block, which everybody gets. The order is a row's own, whatever is beside it.
__device__ inline void sum_over_block(float (&values)[NORM_ROWS]) {
    __shared__ float sums[NORM_ROWS][NORM_THREADS / 32];
    const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, warps = blockDim.x / 32;
#pragma unroll
    for (int r = 0; r < NORM_ROWS; r++) {
        values[r] = sum_over_lanes<32>(values[r]);
        if (lane == 0)
            sums[r][warp] = values[r];
    }
    __syncthreads();
#pragma unroll
    for (int r = 0; r < NORM_ROWS; r++)
        values[r] = sum_over_lanes<32>(lane < warps ? sums[r][lane] : 0.0f);
}

// sum = x + gate * delta, normed = norm(sum) * (1 + scale) + shift; without a delta only the norm of x. A block has some rows of a batch,
// a thread one pack of each of them; `tiles` blocks have a batch.
template <typename T>
__device__ inline void residual_norm(const T *x, const T *delta, const float *gamma, const Modulation &modulation, T *sum, T *normed,
                                     int tiles, int packs, float eps) {
    constexpr int N = Pack<T>::N;
    const int batch = blockIdx.x / tiles, first = blockIdx.x % tiles * NORM_ROWS, column = threadIdx.x * N;
    const int rows = static_cast<int>(threadIdx.x) < packs ? min(NORM_ROWS, modulation.rows - first) : 0; // of which this thread has a pack
    const size_t step = static_cast<size_t>(packs) * N, start = (static_cast<size_t>(batch) * modulation.rows + first) * step + column;
    // All loads are under way before the first is used.
    uint4 own[NORM_ROWS], other[NORM_ROWS];
#pragma unroll
    for (int r = 0; r < NORM_ROWS; r++)
        if (r < rows) {
            own[r] = *reinterpret_cast<const uint4 *>(x + start + r * step);
            if (delta != nullptr)
                other[r] = *reinterpret_cast<const uint4 *>(delta + start + r * step);
        }
    float gate[N], weight[N], shift[N];
#pragma unroll
    for (int i = 0; i < N; i++) {
        gate[i] = 1.0f;
        shift[i] = 0.0f;
    }
    if (rows > 0) {
        parameters(gamma + column, weight);
        if (modulation.gate != nullptr)
            parameters(modulation.gate + static_cast<size_t>(batch) * modulation.gate_stride + column, gate);
        if (modulation.scale != nullptr) {
            const size_t at = static_cast<size_t>(batch) * modulation.stride + column;
            float scale[N];
            parameters(modulation.scale + at, scale);
            parameters(modulation.shift + at, shift);
#pragma unroll
            for (int i = 0; i < N; i++)
                weight[i] *= 1.0f + scale[i];
        }
    }
    float row[NORM_ROWS][N], squares[NORM_ROWS] = {};
#pragma unroll
    for (int r = 0; r < NORM_ROWS; r++)
        if (r < rows) {
            Pack<T>::unpack(own[r], row[r]);
            if (delta != nullptr) {
                float d[N];
                Pack<T>::unpack(other[r], d);
#pragma unroll
                for (int i = 0; i < N; i++)
                    row[r][i] += gate[i] * d[i];
                store(sum + start + r * step, row[r]);
            }
#pragma unroll
            for (int i = 0; i < N; i++)
                squares[r] += row[r][i] * row[r][i];
        }
    sum_over_block(squares);
#pragma unroll
    for (int r = 0; r < NORM_ROWS; r++)
        if (r < rows) {
            const float scale = rsqrtf(squares[r] / static_cast<float>(packs * N) + eps);
#pragma unroll
            for (int i = 0; i < N; i++)
                row[r][i] = row[r][i] * scale * weight[i] + shift[i];
            store(normed + start + r * step, row[r]);
        }
}

#define RESIDUAL_NORM_KERNEL(NAME, T)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(NORM_THREADS)                                                                         \
        residual_norm_##NAME(const T *x, const T *delta, const float *gamma, const float *gate, const float *shift,                    \
                             const float *scale, T *sum, T *normed, int gate_stride, int stride, int rows, int tiles, int packs,       \
                             float eps) {                                                                                              \
        residual_norm<T>(x, delta, gamma, {gate, shift, scale, gate_stride, stride, rows}, sum, normed, tiles, packs, eps);            \
    }
RESIDUAL_NORM_KERNEL(f16, __half)
RESIDUAL_NORM_KERNEL(bf16, __nv_bfloat16)
RESIDUAL_NORM_KERNEL(f32, float)

// Heads that a thread has a pack of: all are turned by the same angles.
constexpr int ROTARY_HEADS = 4;

// A row's heads of queries and keys, normed and turned in place, some at a time: neighbouring lanes have a pack of each, and those that
// share pairs are half a head apart. `groups` times ROTARY_HEADS heads are a row's.
template <typename T, int D>
__device__ inline void norm_rotary(T *qkv, const float *q_gamma, const float *k_gamma, const float *rotary, int heads, int queries,
                                   int columns, int length, int groups, unsigned units, float eps) {
    constexpr int N = Pack<T>::N, LANES = D / N;
    const unsigned unit = (blockIdx.x * THREADS + threadIdx.x) / LANES;
    if (unit >= units)
        return;
    const unsigned row = unit / groups;
    const int first = static_cast<int>(unit - row * groups) * ROTARY_HEADS, lane = threadIdx.x % LANES;
    T *const at = qkv + static_cast<size_t>(row) * columns + first * D + lane * N;
    uint4 own[ROTARY_HEADS];
#pragma unroll
    for (int h = 0; h < ROTARY_HEADS; h++)
        if (first + h < heads)
            own[h] = *reinterpret_cast<const uint4 *>(at + h * D);
    const bool upper = lane >= LANES / 2;
    const unsigned mask = LANES == 32 ? 0xffffffffu : ((1u << LANES) - 1) << (threadIdx.x % 32 / LANES * LANES);
    float a[2 * N];
    parameters(rotary + static_cast<size_t>(row % length) * D + (lane - (upper ? LANES / 2 : 0)) * N * 2, a);
#pragma unroll
    for (int h = 0; h < ROTARY_HEADS; h++)
        if (first + h < heads) {
            float x[1][N];
            Pack<T>::unpack(own[h], x[0]);
            normalise<T, LANES, 1>(x, first + h < queries ? q_gamma : k_gamma, LANES, eps);
#pragma unroll
            for (int i = 0; i < N; i++) {
                const float partner = __shfl_xor_sync(mask, x[0][i], LANES / 2);
                x[0][i] = x[0][i] * a[2 * i] + (upper ? partner : -partner) * a[2 * i + 1];
            }
            store(at + h * D, x[0]);
        }
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
                           int columns, int length, int groups, unsigned units, float eps) {                                           \
        norm_rotary<T, 128>(qkv, q_gamma, k_gamma, rotary, heads, queries, columns, length, groups, units, eps);                       \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) swiglu_##NAME(const T *x, T *out, unsigned packs, unsigned width) {          \
        swiglu<T>(x, out, packs, width);                                                                                               \
    }
TRANSFORMER_KERNELS(f16, __half)
TRANSFORMER_KERNELS(bf16, __nv_bfloat16)
TRANSFORMER_KERNELS(f32, float)
