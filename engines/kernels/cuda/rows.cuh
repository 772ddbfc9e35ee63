// What follows a linear layer: its bias and a curve, and rows in another order. A thread has one pack of 16 bytes.
#pragma once
#include "common.cuh"

// erfc(x) for x >= 0, by Abramowitz and Stegun 7.1.26, and through it the normal distribution function: absolute error 1.5e-7, below
// what even f32 data can show here, and a fraction of erff's work. Taking erfc instead of 1 - erf keeps the left tail exact.
__device__ inline float gelu(float x) {
    const float z = fabsf(x) * 0.70710678f;
    const float t = __fdividef(1.0f, fmaf(0.3275911f, z, 1.0f));
    const float poly = t * fmaf(t, fmaf(t, fmaf(t, fmaf(t, 1.061405429f, -1.453152027f), 1.421413741f), -0.284496736f), 0.254829592f);
    const float tail = 0.5f * poly * __expf(-z * z);
    return x * (x < 0.0f ? tail : 1.0f - tail);
}

struct Gelu {
    static __device__ inline float at(float x) { return gelu(x); }
};
struct Tanh {
    static __device__ inline float at(float x) { return tanhf(x); }
};

// x = curve(x + bias) in place. `width` packs make a row; rows_per_bias rows share a row of the bias.
template <typename T, typename CURVE>
__device__ inline void bias_curve(T *x, const float *bias, unsigned packs, unsigned width, unsigned rows_per_bias) {
    constexpr int N = Pack<T>::N;
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= packs)
        return;
    const unsigned row = i / width;
    float v[N], b[N];
    load(x + static_cast<size_t>(i) * N, v);
    parameters(bias + (static_cast<size_t>(row / rows_per_bias) * width + (i - row * width)) * N, b);
#pragma unroll
    for (int k = 0; k < N; k++)
        v[k] = CURVE::at(v[k] + b[k]);
    store(x + static_cast<size_t>(i) * N, v);
}

// out = (v + b_v) * sigmoid(g + b_g); `width` packs make a row of out, twice as many a row of x: first v, then g.
template <typename T>
__device__ inline void bias_glu(const T *x, const float *bias, T *out, unsigned packs, unsigned width, unsigned rows_per_bias) {
    constexpr int N = Pack<T>::N;
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= packs)
        return;
    const unsigned row = i / width, column = i - row * width;
    const size_t value = (2 * static_cast<size_t>(row) * width + column) * N;
    const size_t value_bias = (2 * static_cast<size_t>(row / rows_per_bias) * width + column) * N;
    float v[N], g[N], b[N], c[N];
    load(x + value, v);
    load(x + value + width * N, g);
    parameters(bias + value_bias, b);
    parameters(bias + value_bias + width * N, c);
#pragma unroll
    for (int k = 0; k < N; k++)
        v[k] = (v[k] + b[k]) * sigmoid(g[k] + c[k]);
    store(out + static_cast<size_t>(i) * N, v);
}

// out[i][o] = x[o][i] + bias[o], for x of outer * inner rows; reads and writes are both whole rows.
template <typename T>
__device__ inline void swap_leading(const T *x, const float *bias, T *out, unsigned packs, unsigned outer, unsigned inner, unsigned width) {
    constexpr int N = Pack<T>::N;
    const unsigned index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= packs)
        return;
    const unsigned row = index / width, column = index - row * width;
    const unsigned i = row / outer, o = row - i * outer;
    float v[N];
    load(x + (static_cast<size_t>(o * inner + i) * width + column) * N, v);
    if (bias != nullptr) {
        float b[N];
        parameters(bias + (static_cast<size_t>(o) * width + column) * N, b);
#pragma unroll
        for (int k = 0; k < N; k++)
            v[k] += b[k];
    }
    store(out + static_cast<size_t>(index) * N, v);
}

#define ROW_KERNELS(NAME, T)                                                                                                           \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                             \
        bias_gelu_##NAME(T *x, const float *bias, unsigned packs, unsigned width, unsigned rows_per_bias) {                            \
        bias_curve<T, Gelu>(x, bias, packs, width, rows_per_bias);                                                                     \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                             \
        bias_tanh_##NAME(T *x, const float *bias, unsigned packs, unsigned width, unsigned rows_per_bias) {                            \
        bias_curve<T, Tanh>(x, bias, packs, width, rows_per_bias);                                                                     \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                             \
        bias_glu_##NAME(const T *x, const float *bias, T *out, unsigned packs, unsigned width, unsigned rows_per_bias) {               \
        bias_glu<T>(x, bias, out, packs, width, rows_per_bias);                                                                        \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS) swap_leading_##NAME(                                                        \
        const T *x, const float *bias, T *out, unsigned packs, unsigned outer, unsigned inner, unsigned width) {                       \
        swap_leading<T>(x, bias, out, packs, outer, inner, width);                                                                     \
    }
ROW_KERNELS(f16, __half)
ROW_KERNELS(bf16, __nv_bfloat16)
ROW_KERNELS(f32, float)
