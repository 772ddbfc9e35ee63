// Attention whose heads of queries share heads of keys and values, with or without a mask, within a sequence or to a memory beside it.
//
// The parts are attention.cuh's: a block has one head of one sequence and a tile of its queries. Queries and keys come as they are, normed
// and turned; a window leaves out blocks of keys that none of the tile's queries looks at. A sequence's sums run over its own keys in
// their order alone, so that its result is the same to the bit whatever is beside it.
#pragma once
#include "attention.cuh"

// Sizes in values; `shared` heads of queries look at one of keys; reach: keys to either side that a query looks at, or all.
struct GroupedShape {
    int heads, shared, rows, keys, tiles;
    int query_step, key_step, key_sequence;
    int reach, causal;
};

constexpr int EVERYWHERE = 1 << 29; // farther than any sequence is long

template <typename T, int D, int WARPS> struct Grouped {
    using One = Attention<T, D, WARPS>;
    static constexpr int CHUNKS = D / 8, STAGE = KEYS * CHUNKS, ROWS = One::ROWS;

    static __device__ inline void load_queries(uint4 *to, const T *from, size_t step, int left) {
        const float scale = rsqrtf(static_cast<float>(D)) * One::LOG2E;
#pragma unroll
        for (int i = 0; i < ROWS * CHUNKS / One::LANES; i++) {
            const int index = i * One::LANES + threadIdx.x, row = index / CHUNKS, chunk = index % CHUNKS;
            uint4 bits = make_uint4(0, 0, 0, 0);
            if (row < left) {
                float v[8];
                load(from + row * step + chunk * 8, v);
#pragma unroll
                for (int k = 0; k < 8; k++)
                    v[k] *= scale;
                bits = Pack<T>::pack(v);
            }
            to[One::at(row, chunk)] = bits;
        }
    }

    // Of the keys from `first` on, a query looks at those within its bounds.
    static __device__ inline void mask(float (&s)[KEYS / 8][4], const int (&low)[2], const int (&high)[2], int first) {
        const int column = first + threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                const int key = column + j * 8 + (i & 1);
                if (key < low[i / 2] || key >= high[i / 2])
                    s[j][i] = -INFINITY;
            }
    }

    // As One::softmax, for rows that may have seen no key yet: their reference is set by the first that they see.
    static __device__ inline void softmax(float (&s)[KEYS / 8][4], float (&o)[D / 8][4], float (&less)[4], float (&total)[2],
                                          uint32_t (&p)[KEYS / 16][4], bool (&blind)[2]) {
        float above[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            above[h] = fmaxf(s[0][2 * h], s[0][2 * h + 1]);
#pragma unroll
            for (int j = 1; j < KEYS / 8; j++)
                above[h] = fmaxf(above[h], fmaxf(s[j][2 * h], s[j][2 * h + 1]));
            above[h] = largest_of_quad(above[h]);
        }
        const bool moves = blind[0] || blind[1] || fmaxf(above[0], above[1]) > One::SLACK;
        if (__any_sync(0xffffffffu, moves)) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const bool sees = above[h] > -INFINITY;
                const float rise = !sees ? 0.0f : blind[h] ? above[h] : fmaxf(above[h], 0.0f);
                const float scale = blind[h] ? 1.0f : exp2_fast(-rise);
                blind[h] = blind[h] && !sees;
                less[2 * h] -= rise;
                less[2 * h + 1] = less[2 * h];
                total[h] *= scale;
#pragma unroll
                for (int j = 0; j < KEYS / 8; j++) {
                    s[j][2 * h] -= rise;
                    s[j][2 * h + 1] -= rise;
                }
#pragma unroll
                for (int j = 0; j < D / 8; j++) {
                    o[j][2 * h] *= scale;
                    o[j][2 * h + 1] *= scale;
                }
            }
        }
#pragma unroll
        for (int h = 0; h < 2; h++)
#pragma unroll
            for (int j = 0; j < KEYS / 8; j++) {
                const float a = exp2_fast(s[j][2 * h]), b = exp2_fast(s[j][2 * h + 1]);
                total[h] += a + b;
                p[j / 2][(j & 1) * 2 + h] = pack2<T>(a, b);
            }
    }

    static __device__ inline void run(const T *q, const T *k, const T *v, const unsigned *lengths, T *out, const GroupedShape &shape) {
        extern __shared__ __align__(1024) uint4 shared[];
        uint4 *const queries = shared, *const keys = queries + ROWS * CHUNKS, *const values = keys + 2 * STAGE;
        const int tile = blockIdx.x % shape.tiles, head = blockIdx.x / shape.tiles % shape.heads;
        const int sequence = blockIdx.x / shape.tiles / shape.heads, width = shape.heads * D;
        const int length = lengths != nullptr ? static_cast<int>(lengths[sequence]) : shape.keys;
        const int first = tile * ROWS, end = min(first + ROWS, shape.rows);
        const int reach = shape.reach < 0 ? EVERYWHERE : shape.reach;
        // Keys that any of the tile's queries looks at, from the beginning of a block on.
        const int begin = max(first - reach, 0) / KEYS * KEYS, stop = min(shape.causal ? end : end + reach, length);
        const size_t row = static_cast<size_t>(sequence) * shape.rows + first;
        const size_t from = static_cast<size_t>(sequence) * shape.key_sequence + static_cast<size_t>(begin) * shape.key_step +
                            head / shape.shared * D;
        typename One::Cursor cursor(k + from, shape.key_step, v + from, shape.key_step, length - begin);
        One::fetch(keys, values, cursor);
        load_queries(queries, q + row * shape.query_step + head * D, shape.query_step, end - first);

        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32, own = first + warp * 16;
        const bool working = __shfl_sync(0xffffffffu, own < end, 0);
        int low[2], high[2];
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int query = own + h * 8 + lane / 4;
            low[h] = query - reach;
            high[h] = min(shape.causal ? query + 1 : query + reach + 1, length);
        }
        float o[D / 8][4] = {}, less[4] = {}, total[2] = {};
        bool blind[2] = {true, true};
        copy_async_wait();
        __syncthreads();
        uint32_t queries_own[D / 16][4];
#pragma unroll
        for (int d = 0; d < D / 16; d++)
            ldmatrix(queries_own[d], queries + One::at(warp * 16 + (lane & 15), d * 2 + (lane >> 4)));

        int stage = 0;
        for (int block = begin; block < stop; block += KEYS) {
            if (block > begin) {
                copy_async_wait();
                __syncthreads(); // keys and values are there, and everybody is done with what is filled next
            }
            if (block + KEYS < stop) {
                cursor.advance();
                One::fetch(keys + (stage ^ 1) * STAGE, values + (stage ^ 1) * STAGE, cursor);
            }
            // Of the warp's sixteen queries, the last looks farthest on and the first farthest back.
            const bool seen = block + KEYS > own - reach && block < (shape.causal ? own + 16 : own + 16 + reach);
            if (working && seen) {
                float s[KEYS / 8][4];
                uint32_t p[KEYS / 16][4];
                One::scores(s, queries_own, keys + stage * STAGE, less);
                // Most blocks are seen whole by all of the warp's queries.
                if (block < own + 15 - reach || block + KEYS > min(shape.causal ? own + 1 : own + 1 + reach, length))
                    mask(s, low, high, block);
                softmax(s, o, less, total, p, blind);
                One::weigh(o, p, values + stage * STAGE);
            }
            stage ^= 1;
        }
        if (!working)
            return;
        // Nothing is gated; rows beyond the end have seen nothing, and are not written.
        const float open[2] = {INFINITY, INFINITY};
        One::finish(o, total, open, queries + warp * 16 * CHUNKS, out + (row + warp * 16) * width + head * D, width, end - own);
    }
};

// f32 data, for comparisons: a warp has a query, whose values its lanes share. Nothing here is tuned.
template <int D>
__device__ inline void grouped_plain(const float *q, const float *k, const float *v, const unsigned *lengths, float *out,
                                     const GroupedShape &shape) {
    constexpr int OWN = D / 32;
    const int lane = threadIdx.x % 32, unit = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32;
    const int query = unit % shape.rows, head = unit / shape.rows % shape.heads, sequence = unit / shape.rows / shape.heads;
    if (sequence >= shape.tiles) // how many sequences there are
        return;
    const int length = lengths != nullptr ? static_cast<int>(lengths[sequence]) : shape.keys;
    const int reach = shape.reach < 0 ? EVERYWHERE : shape.reach;
    const int begin = max(query - reach, 0), stop = min(shape.causal ? query + 1 : query + reach + 1, length);
    const size_t row = static_cast<size_t>(sequence) * shape.rows + query;
    const size_t from = static_cast<size_t>(sequence) * shape.key_sequence + head / shape.shared * D + lane;
    float own[OWN], sum[OWN] = {}, most = -INFINITY, total = 0.0f;
#pragma unroll
    for (int i = 0; i < OWN; i++)
        own[i] = q[row * shape.query_step + head * D + lane + 32 * i] * rsqrtf(static_cast<float>(D));
    for (int key = begin; key < stop; key++) {
        const size_t at = from + static_cast<size_t>(key) * shape.key_step;
        float score = 0.0f;
#pragma unroll
        for (int i = 0; i < OWN; i++)
            score = fmaf(own[i], k[at + 32 * i], score);
        score = sum_over_lanes<32>(score);
        const float largest = fmaxf(most, score), scale = expf(most - largest), weight = expf(score - largest);
        most = largest;
        total = total * scale + weight;
#pragma unroll
        for (int i = 0; i < OWN; i++)
            sum[i] = fmaf(weight, v[at + 32 * i], sum[i] * scale);
    }
#pragma unroll
    for (int i = 0; i < OWN; i++)
        out[row * shape.heads * D + head * D + lane + 32 * i] = sum[i] / total;
}

#define GROUPED_ARGUMENTS(T)                                                                                                           \
    const T *q, const T *k, const T *v, const unsigned *lengths, T *out, int heads, int shared_by, int rows, int keys, int tiles,      \
        int query_step, int key_step, int key_sequence, int reach, int causal
#define GROUPED_SHAPE {heads, shared_by, rows, keys, tiles, query_step, key_step, key_sequence, reach, causal}
#define GROUPED_KERNEL(FUNCTION, T, D, WARPS)                                                                                          \
    extern "C" __global__ void __launch_bounds__(WARPS * 32, 2) FUNCTION(GROUPED_ARGUMENTS(T)) {                                       \
        Grouped<T, D, WARPS>::run(q, k, v, lengths, out, GROUPED_SHAPE);                                                               \
    }
GROUPED_KERNEL(grouped_attention_f16, __half, 128, 4)
GROUPED_KERNEL(grouped_attention_bf16, __nv_bfloat16, 128, 4)
extern "C" __global__ void __launch_bounds__(128) grouped_attention_f32(GROUPED_ARGUMENTS(float)) {
    grouped_plain<128>(q, k, v, lengths, out, GROUPED_SHAPE);
}
