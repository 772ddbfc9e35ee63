// Convolutions over time as one matrix product, and what follows it (see Convolution in Rust). Data is [rows, channels].
//
// A block has TILE product rows by TILE columns. The sum goes over 64 channels of one tap at a time: a stage is as much of TILE input rows,
// which are those of the tap before moved by the dilation, and of TILE weight rows. While one stage is multiplied, the next two are on their
// way (cp.async). Taps go round fastest: a stage's input rows are mostly those of the stage before, and come from the first-level cache.
// Rows outside the input are zeros.
//
// The sums then pass through shared memory, so that bias, residual sum and Snake are done once, in f32, by 16 bytes of output at a time.
#pragma once
#include "attention.cuh"
#include "warpgroup_wide.cuh"

struct ConvolutionShape {
    int rows_in, channels_in, products, columns, rows_out, channels_out, taps, dilation, stride, padding, crop, adds;
};
#define CONVOLUTION_ARGUMENTS(T)                                                                                                       \
    const T *x, const T *weight, const float *bias, const float *snake, T *raw, T *curved, int rows_in, int channels_in, int products, \
        int columns, int rows_out, int channels_out, int taps, int dilation, int stride, int padding, int crop, int adds
#define CONVOLUTION_SHAPE                                                                                                              \
    ConvolutionShape { rows_in, channels_in, products, columns, rows_out, channels_out, taps, dilation, stride, padding, crop, adds }

// y + w * sin^2(f * y). The squared sine's period is pi: what is left of it is small enough for the quick sine. Adding and subtracting
// 1.5 * 2^23 rounds to the nearest whole number.
__device__ inline float snake_curve(float y, float frequency, float weight) {
    const float x = y * frequency;
    const float periods = fmaf(x, 0.318309886f, 12582912.0f) - 12582912.0f;
    const float s = __sinf(fmaf(periods, -9.676536e-4f, fmaf(periods, -3.140625f, x)));
    return fmaf(weight * s, s, y);
}

// What a thread does with packs of sums of one column after another: bias, residual sum and curve. Their parameters are read once.
template <typename T> struct Finish {
    static constexpr int N = Pack<T>::N;
    float bias[N], frequency[N], weight[N];
    const T *add; // may be the same as raw
    T *raw, *curved;
    int columns, first; // values from a product row to the next, and where those of row 0 would be
    size_t end;
    __device__ inline Finish(int column, const float *biases, const float *snake, const T *add, T *raw, T *curved,
                             const ConvolutionShape &shape)
        : bias{}, add(add), raw(raw), curved(curved), columns(shape.columns), first(column - shape.crop * shape.channels_out),
          end(static_cast<size_t>(shape.rows_out) * shape.channels_out) {
        const int channel = column % shape.channels_out;
        if (column >= shape.columns)
            end = 0;
        else if (biases != nullptr)
            parameters(biases + channel, bias);
        if (column < shape.columns && curved != nullptr) {
            parameters(snake + channel, frequency);
            parameters(snake + shape.channels_out + channel, weight);
        }
    }
    // Where a product row's pack belongs; negative if it is cropped or beyond the end.
    __device__ inline ptrdiff_t at(int row) const {
        const ptrdiff_t at = static_cast<ptrdiff_t>(row) * columns + first;
        return at >= 0 && static_cast<size_t>(at) < end ? at : -1;
    }
    // What is added to a product row. It is asked for some rows ahead: stores before it might be to the same place, for all that is known.
    __device__ inline uint4 held(int row) const {
        const ptrdiff_t from = at(row);
        return add != nullptr && from >= 0 ? *reinterpret_cast<const uint4 *>(add + from) : make_uint4(0, 0, 0, 0);
    }
    __device__ inline void row(float (&v)[N], int row, uint4 held) const {
        const ptrdiff_t to = at(row);
        if (to < 0)
            return;
        float a[N];
        Pack<T>::unpack(held, a);
#pragma unroll
        for (int i = 0; i < N; i++)
            v[i] += bias[i] + a[i];
        if (raw != nullptr)
            store(raw + to, v);
        if (curved != nullptr) {
#pragma unroll
            for (int i = 0; i < N; i++)
                v[i] = snake_curve(v[i], frequency[i], weight[i]);
            store(curved + to, v);
        }
    }
};

// Copies 16 bytes past the registers but through the first-level cache, or zeros.
__device__ inline void copy_async_cached(uint4 *to, const void *from, bool valid) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.ca.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void copy_async_commit() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int LEFT> __device__ inline void copy_async_wait_for_all_but() { asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory"); }

// One block's work. Four warps have a quarter of the tile each; GROUPED: they multiply as one, 64 rows at a time, where the hardware has it.
template <typename T, int TILE, bool GROUPED = false> struct ConvolutionTile {
    static constexpr int LANES = 128;
    static constexpr int CHUNKS = 8; // of 16 bytes: 64 channels
    static constexpr int STAGES = 3;
    static constexpr int APART = LANES / CHUNKS; // rows from one own chunk to the next
    static constexpr int OWN = TILE / APART;
    static constexpr int STAGE = 2 * TILE * CHUNKS;
    static constexpr int HALF = TILE / 2;
    static constexpr int PARTS = GROUPED ? TILE / 64 : HALF / 16;   // of a warp's sums: 16 rows each
    static constexpr int COLUMNS = GROUPED ? TILE / 8 : HALF / 8;   // 8 columns each
    static constexpr int PITCH = TILE + 8; // of sums in shared memory: the rows of a quad of lanes lie in different banks
    static_assert(TILE * PITCH * sizeof(float) <= STAGES * STAGE * sizeof(uint4), "the sums take the stages' place");
    using Sums = float[PARTS][COLUMNS][4];

    static __device__ inline int at(int row, int chunk) { return row * CHUNKS + (chunk ^ (row & 7)); }

    // Where a part of a warp's sums is in the tile.
    static __device__ inline int part_row(int part) {
        const int warp = threadIdx.x / 32;
        return GROUPED ? part * 64 + warp * 16 : warp / 2 * HALF + part * 16;
    }
    static __device__ inline int first_column() { return GROUPED ? 0 : threadIdx.x / 32 % 2 * HALF; }

    // Where a thread's own chunks of both operands come from.
    struct Cursor {
        const T *x, *weight;
        int first, left;  // input row of the first own product row, and product rows from that to the end
        int columns_left; // the same of weights
        int tap;
        __device__ inline Cursor(const T *from, const T *weights, int row, int column, const ConvolutionShape &shape) : tap(0) {
            const int own = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
            first = (row + own) * shape.stride - shape.padding;
            left = shape.products - row - own;
            columns_left = shape.columns - column - own;
            x = from + chunk * 8;
            weight = weights + static_cast<size_t>(column + own) * shape.taps * shape.channels_in + chunk * 8;
        }
        __device__ inline void advance(const ConvolutionShape &shape) {
            if (++tap == shape.taps) {
                tap = 0;
                x += 64;
                weight += 64;
            }
        }
    };

    static __device__ inline void fetch_rows(uint4 *stage, const Cursor &cursor, const ConvolutionShape &shape) {
        const int own = at(threadIdx.x / CHUNKS, threadIdx.x % CHUNKS);
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            const int row = cursor.first + i * APART * shape.stride + cursor.tap * shape.dilation;
            const bool valid = i * APART < cursor.left && static_cast<unsigned>(row) < static_cast<unsigned>(shape.rows_in);
            copy_async_cached(stage + own + i * APART * CHUNKS, cursor.x + (valid ? static_cast<size_t>(row) * shape.channels_in : 0), valid);
        }
    }
    static __device__ inline void fetch_weights(uint4 *stage, const Cursor &cursor, const ConvolutionShape &shape) {
        const int own = at(threadIdx.x / CHUNKS, threadIdx.x % CHUNKS);
        const T *weight = cursor.weight + cursor.tap * shape.channels_in;
        const size_t step = static_cast<size_t>(APART) * shape.taps * shape.channels_in;
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            const bool valid = i * APART < cursor.columns_left;
            copy_async(stage + own + (TILE + i * APART) * CHUNKS, valid ? weight + i * step : cursor.x, valid);
        }
    }

    // Adds the products of a stage; GROUPED they are only under way.
    static __device__ inline void multiply(Sums &sums, const uint4 *stage) {
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
        if constexpr (GROUPED) {
            const uint64_t a = block_descriptor(stage), b = block_descriptor(stage + TILE * CHUNKS);
#pragma unroll
            for (int i = 0; i < PARTS; i++)
                warpgroup_begin(sums[i]);
#pragma unroll
            for (int k = 0; k < 4; k++)
#pragma unroll
                for (int i = 0; i < PARTS; i++)
                    warpgroup_mma<T>(sums[i], a + i * 512 + k * 2, b + k * 2); // 64 rows are 8192 bytes, 16 columns are 32
            warpgroup_end();
            return;
        }
#endif
        const int lane = threadIdx.x % 32, row = part_row(0), column = first_column();
#pragma unroll
        for (int k = 0; k < 4; k++) {
            uint32_t a[PARTS][4];
#pragma unroll
            for (int i = 0; i < PARTS; i++)
                ldmatrix(a[i], stage + at(row + i * 16 + (lane & 15), k * 2 + (lane >> 4)));
#pragma unroll
            for (int j = 0; j < COLUMNS / 2; j++) {
                uint32_t b[4];
                ldmatrix(b, stage + at(TILE + column + j * 16 + (lane & 7) + (lane >> 4) * 8, k * 2 + (lane >> 3 & 1)));
#pragma unroll
                for (int i = 0; i < PARTS; i++) {
                    mma<T>(sums[i][2 * j], a[i], b[0], b[1], sums[i][2 * j]);
                    mma<T>(sums[i][2 * j + 1], a[i], b[2], b[3], sums[i][2 * j + 1]);
                }
            }
        }
    }

    // Products that are under way are done, and what this thread copied is there for others' products.
    static __device__ inline void settle(Sums &sums) {
        if constexpr (GROUPED) {
#pragma unroll
            for (int i = 0; i < PARTS; i++)
                warpgroup_wait(sums[i]);
            publish_to_products();
        }
    }

    // The whole sum of a tile.
    static __device__ inline void accumulate(Sums &sums, uint4 *stages, Cursor &cursor, const ConvolutionShape &shape) {
        const int steps = shape.taps * (shape.channels_in / 64);
        const auto fetch = [&](int step) {
            if (step < steps) {
                uint4 *stage = stages + step % STAGES * STAGE;
                fetch_rows(stage, cursor, shape);
                fetch_weights(stage, cursor, shape);
                cursor.advance(shape);
            }
            copy_async_commit();
        };
#pragma unroll
        for (int i = 0; i < STAGES - 1; i++)
            fetch(i);
        for (int step = 0; step < steps; step++) {
            copy_async_wait_for_all_but<STAGES - 2>();
            settle(sums);
            __syncthreads(); // everybody's part has come, and everybody has done with the stage before
            multiply(sums, stages + step % STAGES * STAGE);
            fetch(step + STAGES - 1);
        }
        copy_async_wait();
        settle(sums);
        __syncthreads();
    }

    static __device__ inline void load_sums(const float *from, float (&v)[8]) {
#pragma unroll
        for (int i = 0; i < 8; i += 4) {
            const float4 four = *reinterpret_cast<const float4 *>(from + i);
            v[i] = four.x;
            v[i + 1] = four.y;
            v[i + 2] = four.z;
            v[i + 3] = four.w;
        }
    }

    // Bias, residual sum and curve of a tile's sums.
    static __device__ inline void finish(const Sums &sums, float *tile, int row, int column, const float *bias, const float *snake, const T *add,
                                         T *raw, T *curved, const ConvolutionShape &shape) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < PARTS; i++)
#pragma unroll
            for (int j = 0; j < COLUMNS; j++)
#pragma unroll
                for (int h = 0; h < 2; h++)
                    *reinterpret_cast<float2 *>(tile + (part_row(i) + h * 8 + lane / 4) * PITCH + first_column() + j * 8 + lane % 4 * 2) =
                        make_float2(sums[i][j][2 * h], sums[i][j][2 * h + 1]);
        __syncthreads();
        constexpr int ACROSS = TILE / 8, DOWN = LANES / ACROSS;
        const int c = threadIdx.x % ACROSS * 8, r = threadIdx.x / ACROSS;
        const Finish<T> finish(column + c, bias, snake, add, raw, curved, shape);
        constexpr int AHEAD = 4; // rows of a thread whose residuals are on their way
        for (int i = r; i < TILE; i += AHEAD * DOWN) {
            uint4 held[AHEAD];
#pragma unroll
            for (int k = 0; k < AHEAD; k++)
                held[k] = finish.held(row + i + k * DOWN);
#pragma unroll
            for (int k = 0; k < AHEAD; k++) {
                float v[8];
                load_sums(tile + (i + k * DOWN) * PITCH + c, v);
                finish.row(v, row + i + k * DOWN, held[k]);
            }
        }
    }

    // What a tile's rows are added to sets out for the second-level cache, to be there when the sums are.
    static __device__ inline void expect(const T *add, int row, int column, const ConvolutionShape &shape) {
        constexpr int LINE = 64; // values of 128 bytes
        for (int index = threadIdx.x; index < TILE * TILE / LINE; index += LANES) {
            const int r = row + index / (TILE / LINE), c = column + index % (TILE / LINE) * LINE;
            if (r < shape.products && c < shape.columns)
                asm volatile("prefetch.global.L2 [%0];" ::"l"(add + static_cast<size_t>(r) * shape.columns + c));
        }
    }

    static __device__ inline void run(const T *x, const T *weight, const float *bias, const float *snake, T *raw, T *curved,
                                      const ConvolutionShape &shape) {
        extern __shared__ __align__(1024) uint4 stages[];
        const int across = (shape.columns + TILE - 1) / TILE;
        const int row = blockIdx.x / across * TILE, column = blockIdx.x % across * TILE;
        const T *add = shape.adds ? raw : nullptr;
        if (add != nullptr && shape.columns == shape.channels_out)
            expect(add, row, column, shape);
        Sums sums = {};
        Cursor cursor(x, weight, row, column, shape);
        accumulate(sums, stages, cursor, shape);
        finish(sums, reinterpret_cast<float *>(stages), row, column, bias, snake, add, raw, curved, shape);
    }
};

// The same in f32, for comparison: a thread has 4x4 sums of 64x64, 16 values of the sum at a time.
__device__ inline void convolution_plain(const float *x, const float *weight, const float *bias, const float *snake, float *raw,
                                         float *curved, const ConvolutionShape &shape) {
    constexpr int TILE = 64, DEPTH = 16;
    __shared__ float a[DEPTH][TILE + 4], b[DEPTH][TILE + 4];
    const int across = (shape.columns + TILE - 1) / TILE;
    const int row = blockIdx.x / across * TILE, column = blockIdx.x % across * TILE;
    const int depth = shape.taps * shape.channels_in;
    const int r = threadIdx.x / 16 * 4, c = threadIdx.x % 16 * 4;
    float sums[4][4] = {};
    for (int k = 0; k < depth; k += DEPTH) {
        for (int index = threadIdx.x; index < TILE * DEPTH; index += THREADS) {
            const int line = index / DEPTH, d = index % DEPTH, tap = (k + d) / shape.channels_in, channel = (k + d) % shape.channels_in;
            const int from = (row + line) * shape.stride - shape.padding + tap * shape.dilation;
            const bool inside = row + line < shape.products && k + d < depth && from >= 0 && from < shape.rows_in;
            a[d][line] = inside ? x[static_cast<size_t>(from) * shape.channels_in + channel] : 0.0f;
            const bool weighed = column + line < shape.columns && k + d < depth;
            b[d][line] = weighed ? weight[static_cast<size_t>(column + line) * depth + k + d] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < DEPTH; d++)
#pragma unroll
            for (int i = 0; i < 4; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sums[i][j] = fmaf(a[d][r + i], b[d][c + j], sums[i][j]);
        __syncthreads();
    }
    const Finish<float> finish(column + c, bias, snake, shape.adds ? raw : nullptr, raw, curved, shape);
#pragma unroll
    for (int i = 0; i < 4; i++)
        if (row + r + i < shape.products)
            finish.row(sums[i], row + r + i, finish.held(row + r + i));
}

#define CONVOLUTION_KERNEL(NAME, T, TILE, BLOCKS, GROUPED)                                                                             \
    extern "C" __global__ void __launch_bounds__(128, BLOCKS) NAME(CONVOLUTION_ARGUMENTS(T)) {                                         \
        ConvolutionTile<T, TILE, GROUPED>::run(x, weight, bias, snake, raw, curved, CONVOLUTION_SHAPE);                                \
    }
CONVOLUTION_KERNEL(convolution_128_f16, __half, 128, 2, false)
CONVOLUTION_KERNEL(convolution_128_bf16, __nv_bfloat16, 128, 2, false)
CONVOLUTION_KERNEL(convolution_64_f16, __half, 64, 4, false)
CONVOLUTION_KERNEL(convolution_64_bf16, __nv_bfloat16, 64, 4, false)
#ifdef __CUDA_ARCH_FEAT_SM90_ALL
CONVOLUTION_KERNEL(convolution_grouped_128_f16, __half, 128, 2, true)
CONVOLUTION_KERNEL(convolution_grouped_128_bf16, __nv_bfloat16, 128, 2, true)
CONVOLUTION_KERNEL(convolution_grouped_64_f16, __half, 64, 4, true)
CONVOLUTION_KERNEL(convolution_grouped_64_bf16, __nv_bfloat16, 64, 4, true)
#endif
extern "C" __global__ void __launch_bounds__(THREADS) convolution_plain_f32(CONVOLUTION_ARGUMENTS(float)) {
    convolution_plain(x, weight, bias, snake, raw, curved, CONVOLUTION_SHAPE);
}
