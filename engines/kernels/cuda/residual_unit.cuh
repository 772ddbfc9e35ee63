// A residual unit of 128 channels in one pass: what lies between its two convolutions never leaves the multiprocessor. A block has all
// channels of 128 rows: it makes the first product as any convolution does, curves the sums where they are, puts them into shared memory as
// input of the second product, and finishes that. By warpgroups only.
#pragma once
#include "convolution.cuh"

#ifdef __CUDA_ARCH_FEAT_SM90_ALL
template <typename T> struct ResidualUnit {
    static constexpr int WIDTH = 128;
    using Tile = ConvolutionTile<T, WIDTH, true>;

    // Weights of the second product, [128, 128], to where stages 0 and 1 have theirs.
    static __device__ inline void fetch_pointwise(uint4 *stages, const T *weight) {
        const int row = threadIdx.x / Tile::CHUNKS, chunk = threadIdx.x % Tile::CHUNKS;
#pragma unroll
        for (int half = 0; half < 2; half++)
#pragma unroll
            for (int i = 0; i < Tile::OWN; i++)
                copy_async(stages + half * Tile::STAGE + Tile::at(row, chunk) + (WIDTH + i * Tile::APART) * Tile::CHUNKS,
                           weight + (row + i * Tile::APART) * WIDTH + half * 64 + chunk * 8, true);
    }

    // Sums with bias and curve, to where stages 0 and 1 have their rows.
    static __device__ inline void curve(const typename Tile::Sums &sums, uint4 *stages, const float *bias, const float *snake) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int j = 0; j < Tile::COLUMNS; j++) {
            const int column = j * 8 + lane % 4 * 2;
            const float2 b = __ldg(reinterpret_cast<const float2 *>(bias + column));
            const float2 frequency = __ldg(reinterpret_cast<const float2 *>(snake + column));
            const float2 weight = __ldg(reinterpret_cast<const float2 *>(snake + WIDTH + column));
#pragma unroll
            for (int i = 0; i < Tile::PARTS; i++)
#pragma unroll
                for (int h = 0; h < 2; h++) {
                    const float low = snake_curve(sums[i][j][2 * h] + b.x, frequency.x, weight.x);
                    const float high = snake_curve(sums[i][j][2 * h + 1] + b.y, frequency.y, weight.y);
                    uint4 *to = stages + j / 8 * Tile::STAGE + Tile::at(Tile::part_row(i) + h * 8 + lane / 4, j % 8);
                    reinterpret_cast<uint32_t *>(to)[lane % 4] = pack2<T>(low, high);
                }
        }
    }

    static __device__ inline void run(const T *x, const T *add, const T *weight, const float *bias, const float *between, const T *pointwise,
                                      const float *pointwise_bias, const float *next, T *raw, T *curved, int rows, int taps, int dilation) {
        extern __shared__ __align__(1024) uint4 stages[];
        const ConvolutionShape shape{rows, WIDTH, rows, WIDTH, rows, WIDTH, taps, dilation, 1, (taps - 1) * dilation / 2, 0, 1};
        const int row = blockIdx.x * WIDTH;
        Tile::expect(add, row, 0, shape);
        typename Tile::Sums sums = {};
        typename Tile::Cursor cursor(x, weight, row, 0, shape);
        Tile::accumulate(sums, stages, cursor, shape);
        fetch_pointwise(stages, pointwise);
        curve(sums, stages, bias, between);
#pragma unroll
        for (int i = 0; i < Tile::PARTS; i++)
#pragma unroll
            for (int j = 0; j < Tile::COLUMNS; j++)
#pragma unroll
                for (int k = 0; k < 4; k++)
                    sums[i][j][k] = 0.0f;
        copy_async_wait();
        publish_to_products();
        __syncthreads();
        Tile::multiply(sums, stages);
        Tile::multiply(sums, stages + Tile::STAGE);
        Tile::settle(sums);
        __syncthreads();
        Tile::finish(sums, reinterpret_cast<float *>(stages), row, 0, pointwise_bias, next, add, raw, curved, shape);
    }
};

#define RESIDUAL_UNIT_KERNEL(NAME, T)                                                                                                  \
    extern "C" __global__ void __launch_bounds__(128, 2)                                                                              \
        NAME(const T *x, const T *add, const T *weight, const float *bias, const float *between, const T *pointwise,                   \
             const float *pointwise_bias, const float *next, T *raw, T *curved, int rows, int taps, int dilation) {                    \
        ResidualUnit<T>::run(x, add, weight, bias, between, pointwise, pointwise_bias, next, raw, curved, rows, taps, dilation);       \
    }
RESIDUAL_UNIT_KERNEL(residual_unit_f16, __half)
RESIDUAL_UNIT_KERNEL(residual_unit_bf16, __nv_bfloat16)
#endif
