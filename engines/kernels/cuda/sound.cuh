// The first and the last convolution, between two channels of sound in f32 and the network's data: 7 taps, little arithmetic, and weights
// of f32 that stay where they are read.
#pragma once
#include "convolution.cuh"

constexpr int SOUND_TAPS = 7;
constexpr int SOUND_ROWS = 512; // of a block that takes sound in

// A thread has one pack of channels of four rows at a time, and goes through the block's rows; both halves of the trunk are written. Weights
// are in shared memory, channels side by side.
template <typename T>
__device__ inline void sound_in(const float *sound, const float *weight, const float *bias, const float *snake, T *raw, T *curved,
                                const ConvolutionShape &shape) {
    constexpr int N = Pack<T>::N, DEPTH = 2 * SOUND_TAPS, ROWS = 4;
    extern __shared__ __align__(16) float weights[];
    for (int index = threadIdx.x; index < DEPTH * shape.channels_out; index += THREADS)
        weights[index % DEPTH * shape.channels_out + index / DEPTH] = __ldg(weight + index);
    __syncthreads();
    const int packs = shape.channels_out / N, apart = THREADS / packs;
    if (static_cast<int>(threadIdx.x) >= apart * packs)
        return;
    const int channel = threadIdx.x % packs * N;
    const Finish<T> finish(channel, bias, snake, nullptr, raw, curved, shape);
    const int begin = blockIdx.x * SOUND_ROWS, end = min(begin + SOUND_ROWS, shape.rows_out);
    for (int row = begin + static_cast<int>(threadIdx.x) / packs * ROWS; row < end; row += apart * ROWS) {
        float2 heard[ROWS + SOUND_TAPS - 1];
#pragma unroll
        for (int i = 0; i < ROWS + SOUND_TAPS - 1; i++) {
            const int from = row + i - SOUND_TAPS / 2;
            const bool inside = from >= 0 && from < shape.rows_in;
            heard[i] = inside ? __ldg(reinterpret_cast<const float2 *>(sound) + from) : make_float2(0.0f, 0.0f);
        }
        float v[ROWS][N] = {};
#pragma unroll
        for (int tap = 0; tap < SOUND_TAPS; tap++) {
            float left[N], right[N];
            const float *w = weights + 2 * tap * shape.channels_out + channel;
#pragma unroll
            for (int i = 0; i < N; i++) {
                left[i] = w[i];
                right[i] = w[shape.channels_out + i];
            }
#pragma unroll
            for (int r = 0; r < ROWS; r++)
#pragma unroll
                for (int i = 0; i < N; i++)
                    v[r][i] = fmaf(heard[r + tap].y, right[i], fmaf(heard[r + tap].x, left[i], v[r][i]));
        }
#pragma unroll
        for (int r = 0; r < ROWS; r++)
            if (row + r < end)
                finish.row(v[r], row + r, make_uint4(0, 0, 0, 0));
    }
}

// Four threads have a row, each every fourth pack of its channels.
template <typename T> __device__ inline void sound_out(const T *x, const float *weight, float *sound, int rows, int channels) {
    constexpr int N = Pack<T>::N, LANES = 4;
    const int row = blockIdx.x * (THREADS / LANES) + threadIdx.x / LANES, lane = threadIdx.x % LANES;
    const int depth = SOUND_TAPS * channels;
    float left = 0.0f, right = 0.0f;
    for (int tap = 0; tap < SOUND_TAPS; tap++) {
        const int from = row + tap - SOUND_TAPS / 2;
        if (from < 0 || from >= rows)
            continue;
        for (int channel = lane * N; channel < channels; channel += LANES * N) {
            float v[N], l[N], r[N];
            load(x + static_cast<size_t>(from) * channels + channel, v);
            parameters(weight + tap * channels + channel, l);
            parameters(weight + depth + tap * channels + channel, r);
#pragma unroll
            for (int i = 0; i < N; i++) {
                left = fmaf(v[i], l[i], left);
                right = fmaf(v[i], r[i], right);
            }
        }
    }
    left = sum_of_quad(left);
    right = sum_of_quad(right);
    if (lane == 0 && row < rows)
        reinterpret_cast<float2 *>(sound)[row] = make_float2(left, right);
}

#define SOUND_KERNELS(NAME, T)                                                                                                         \
    extern "C" __global__ void __launch_bounds__(THREADS) sound_in_##NAME(                                                            \
        const float *sound, const float *weight, const float *bias, const float *snake, T *raw, T *curved, int rows, int channels) {   \
        const ConvolutionShape shape{rows, 2, rows, channels, rows, channels, SOUND_TAPS, 1, 1, SOUND_TAPS / 2, 0, 0};                 \
        sound_in<T>(sound, weight, bias, snake, raw, curved, shape);                                                                   \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                             \
        sound_out_##NAME(const T *x, const float *weight, float *sound, int rows, int channels) {                                      \
        sound_out<T>(x, weight, sound, rows, channels);                                                                                \
    }
SOUND_KERNELS(f16, __half)
SOUND_KERNELS(bf16, __nv_bfloat16)
SOUND_KERNELS(f32, float)
