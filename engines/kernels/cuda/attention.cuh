// Self-attention with rotary positions and a gate a head; no score ever reaches memory.
//
// Long sequences: a block has one head of one sequence and a tile of its queries, and goes through keys and values in blocks of 64. Tensor
// cores multiply (mma.sync m16n8k16, f32 accumulators, or by a warpgroup), and the softmax is kept running. Scores are in units of log2:
// 1/sqrt(d) * log2(e) is folded into the queries before they are rounded. While one block of keys and values is multiplied, the next is on
// its way (cp.async) to another part of shared memory.
//
// Queries are turned by their positions, in f32, between global and shared memory. So would keys be, but every tile of queries reads them
// all: they are turned beforehand, once (turn_keys). Short sequences are one block of keys, and turn both on the spot (ManyShort).
//
// Shared memory has rows of D values as chunks of 16 bytes; chunk c of row r lies at c ^ (r % 8), so that the eight rows an ldmatrix reads
// lie in different banks.
#pragma once
#include "common.cuh"
#include "warpgroup.cuh"

// Where sequences lie among tokens (see Sequences in Rust), and how rows of qkvg look: the heads' queries, keys, values, one gate each.
struct AttentionShape {
    int heads, columns, length, tiles;
    int inner, outer_stride, inner_stride, stride;
};

constexpr int KEYS = 64; // of a block of keys and values

// d = a * b + c, on tiles of 16x16 by 16x8; of d and c a thread has two neighbours of row lane / 4 and two of the row 8 below.
template <typename T>
__device__ inline void mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const float *c);
#define MMA(T, NAME)                                                                                                                   \
    template <> __device__ inline void mma<T>(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1, const float *c) {       \
        asm volatile("mma.sync.aligned.m16n8k16.row.col.f32." NAME "." NAME ".f32 "                                                    \
                     "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"                                                       \
                     : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])                                                                  \
                     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1), "f"(c[0]), "f"(c[1]), "f"(c[2]), "f"(c[3]));      \
    }
MMA(__half, "f16")
MMA(__nv_bfloat16, "bf16")

__device__ inline void ldmatrix(uint32_t (&r)[4], const uint4 *from) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(from));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}
__device__ inline void ldmatrix_transposed(uint32_t (&r)[4], const uint4 *from) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(from));
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(at));
}
// Copies 16 bytes past the registers, or zeros if there is nothing to copy.
__device__ inline void copy_async(uint4 *to, const void *from, bool valid) {
    const uint32_t at = static_cast<uint32_t>(__cvta_generic_to_shared(to));
    const int bytes = valid ? 16 : 0;
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(at), "l"(from), "r"(bytes) : "memory");
}
__device__ inline void copy_async_wait() { asm volatile("cp.async.wait_all;" ::: "memory"); }

__device__ inline float exp2_fast(float x) {
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
__device__ inline float largest_of_quad(float x) {
    x = fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 1));
    return fmaxf(x, __shfl_xor_sync(0xffffffffu, x, 2));
}
__device__ inline float sum_of_quad(float x) {
    x += __shfl_xor_sync(0xffffffffu, x, 1);
    return x + __shfl_xor_sync(0xffffffffu, x, 2);
}

// Turns the four pairs of a chunk by (cos, sin) each, and scales them.
template <typename T> __device__ inline uint4 turned(uint4 bits, const float (&a)[8], float scale) {
    float v[8];
    Pack<T>::unpack(bits, v);
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        const float x = v[i] * scale, y = v[i + 1] * scale;
        v[i] = x * a[i] - y * a[i + 1];
        v[i + 1] = y * a[i] + x * a[i + 1];
    }
    return Pack<T>::pack(v);
}
template <typename T> __device__ inline uint4 turned(uint4 bits, const float *angles, float scale) {
    float a[8];
    parameters(angles, a);
    return turned<T>(bits, a, scale);
}

// One block's work on a long sequence, whose parts short ones use too. Warps have 16 queries each. GROUPED: four warps multiply as one,
// where the hardware has it.
template <typename T, int D, int WARPS, bool GROUPED = false> struct Attention {
    static_assert(!GROUPED || (D == 64 && WARPS % 4 == 0), "a group has four warps");
    static constexpr int LANES = WARPS * 32;
    static constexpr int ROWS = WARPS * 16; // queries of a block
    static constexpr int CHUNKS = D / 8;    // of a row
    // While one block is multiplied, the next arrives; a warpgroup's last product may still read the one before.
    static constexpr int STAGES = GROUPED ? 3 : 2;
    static constexpr int OWN = KEYS * CHUNKS / LANES; // chunks of a block of keys that a thread loads
    static constexpr float LOG2E = 1.44269504f;
    static_assert(KEYS * CHUNKS % LANES == 0, "threads load equal shares of a block of keys");

    static __device__ inline int at(int row, int chunk) { return row * CHUNKS + (chunk ^ (row & 7)); }

    // Scores of 16 queries against a block of keys, less the reference, which the sums begin with.
    static __device__ inline void scores(float (&s)[KEYS / 8][4], const uint32_t (&q)[D / 16][4], const uint4 *keys,
                                         const float (&less)[4]) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int d = 0; d < D / 16; d++)
#pragma unroll
            for (int j = 0; j < KEYS / 16; j++) {
                uint32_t k[4];
                ldmatrix(k, keys + at(j * 16 + (lane & 7) + (lane >> 4) * 8, d * 2 + (lane >> 3 & 1)));
                mma<T>(s[2 * j], q[d], k[0], k[1], d == 0 ? less : s[2 * j]);
                mma<T>(s[2 * j + 1], q[d], k[2], k[3], d == 0 ? less : s[2 * j + 1]);
            }
    }

    // The same by a warpgroup, once it has done with the values before.
    static __device__ inline void scores_grouped(float (&s)[KEYS / 8][4], float (&o)[D / 8][4], const uint4 *queries, const uint4 *keys,
                                                 const float (&less)[4]) {
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                s[j][i] = less[i];
        warpgroup_begin(s);
        const uint64_t q = block_descriptor(queries), k = block_descriptor(keys);
#pragma unroll
        for (int d = 0; d < D / 16; d++)
            warpgroup_mma<T>(s, q + d * 2, k + d * 2); // 16 columns are 32 bytes
        warpgroup_end();
        warpgroup_wait(s, o);
    }

    // Keys beyond the sequence's end weigh nothing.
    static __device__ inline void mask(float (&s)[KEYS / 8][4], int valid) {
        const int column = threadIdx.x % 4 * 2;
#pragma unroll
        for (int j = 0; j < KEYS / 8; j++)
#pragma unroll
            for (int i = 0; i < 4; i++)
                if (j * 8 + column + (i & 1) >= valid)
                    s[j][i] = -INFINITY;
    }

    // Turns scores of one tile into weights: powers of two of what they are above the reference. A running softmax would take the largest
    // score so far for it; here it stays until a score is 2^SLACK times above, which after the first block hardly happens. Weights
    // that large lose no precision, and the division at the end undoes the reference, whatever it is.
    static constexpr float SLACK = 8.0f;
    static __device__ inline void softmax(float (&s)[KEYS / 8][4], float (&o)[D / 8][4], float (&less)[4], float (&total)[2],
                                          uint32_t (&p)[KEYS / 16][4], bool begin) {
        float above[2]; // the largest score, less the reference
#pragma unroll
        for (int h = 0; h < 2; h++) { // rows g and g + 8 of the tile
            above[h] = fmaxf(s[0][2 * h], s[0][2 * h + 1]);
#pragma unroll
            for (int j = 1; j < KEYS / 8; j++)
                above[h] = fmaxf(above[h], fmaxf(s[j][2 * h], s[j][2 * h + 1]));
            above[h] = largest_of_quad(above[h]);
        }
        if (begin || __any_sync(0xffffffffu, fmaxf(above[0], above[1]) > SLACK)) {
#pragma unroll
            for (int h = 0; h < 2; h++) {
                const float rise = begin ? above[h] : fmaxf(above[h], 0.0f);
                less[2 * h] -= rise;
                less[2 * h + 1] = less[2 * h];
#pragma unroll
                for (int j = 0; j < KEYS / 8; j++) {
                    s[j][2 * h] -= rise;
                    s[j][2 * h + 1] -= rise;
                }
                if (!begin) {
                    const float scale = exp2_fast(-rise);
                    total[h] *= scale;
#pragma unroll
                    for (int j = 0; j < D / 8; j++) {
                        o[j][2 * h] *= scale;
                        o[j][2 * h + 1] *= scale;
                    }
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

    // Adds weights times values.
    static __device__ inline void weigh(float (&o)[D / 8][4], const uint32_t (&p)[KEYS / 16][4], const uint4 *values) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++)
#pragma unroll
            for (int d = 0; d < D / 16; d++) {
                uint32_t v[4];
                ldmatrix_transposed(v, values + at(k * 16 + (lane & 15), d * 2 + (lane >> 4)));
                mma<T>(o[2 * d], p[k], v[0], v[1], o[2 * d]);
                mma<T>(o[2 * d + 1], p[k], v[2], v[3], o[2 * d + 1]);
            }
    }

    // The same by a warpgroup; scores_grouped waits for it.
    static __device__ inline void weigh_grouped(float (&o)[D / 8][4], const uint32_t (&p)[KEYS / 16][4], const uint4 *values) {
        warpgroup_begin(o);
        const uint64_t block = block_descriptor(values);
#pragma unroll
        for (int k = 0; k < KEYS / 16; k++)
            warpgroup_mma<T>(o, p[k], block + k * 128); // 16 rows are 2048 bytes
        warpgroup_end();
    }

    // Where a thread's own chunks of keys and values are: APART rows from one to the next, so that they all lie in one column of chunks,
    // also in shared memory. It moves on by a block of keys at a time.
    static constexpr int APART = LANES / CHUNKS;
    struct Cursor {
        const T *keys, *values;
        size_t key_step, step; // from a row to the next, of keys and of values
        int left;              // rows from the first own one to the sequence's end
        __device__ inline Cursor(const T *first_key, size_t key_step, const T *first_value, size_t step, int length)
            : key_step(key_step), step(step) {
            const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
            keys = first_key + row * key_step + chunk * 8;
            values = first_value + row * step + chunk * 8;
            left = length - row;
        }
        __device__ inline void advance() {
            keys += KEYS * key_step;
            values += KEYS * step;
            left -= KEYS;
        }
    };
    static __device__ inline int own() { return at(threadIdx.x / CHUNKS, threadIdx.x % CHUNKS); }

    static __device__ inline void copy_rows(uint4 *to, const T *from, size_t step, int left) {
#pragma unroll
        for (int i = 0; i < OWN; i++) {
            const bool valid = i * APART < left;
            copy_async(to + own() + i * APART * CHUNKS, from + (valid ? i * APART * step : 0), valid);
        }
    }
    // Sets out for a block of keys and values.
    static __device__ inline void fetch(uint4 *keys, uint4 *values, const Cursor &cursor) {
        copy_rows(keys, cursor.keys, cursor.key_step, cursor.left);
        copy_rows(values, cursor.values, cursor.step, cursor.left);
    }

    static __device__ inline void load_queries(uint4 *to, const T *from, size_t step, const float *rotary, int first, int length) {
        const float scale = rsqrtf(static_cast<float>(D)) * LOG2E;
        constexpr int COUNT = ROWS * CHUNKS / LANES;
#pragma unroll
        for (int i = 0; i < COUNT; i++) {
            const int index = i * LANES + threadIdx.x, row = index / CHUNKS, chunk = index % CHUNKS, position = first + row;
            uint4 bits = make_uint4(0, 0, 0, 0);
            if (position < length)
                bits = turned<T>(*reinterpret_cast<const uint4 *>(from + position * step + chunk * 8), rotary + position * D + chunk * 8,
                                 scale);
            to[at(row, chunk)] = bits;
        }
    }

    // Gate logits of a warp's rows, as its accumulators have them.
    static __device__ inline void load_gates(float (&gate)[2], const T *logits, const float *bias, size_t step, int first, int length) {
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const int position = min(first + h * 8 + static_cast<int>(threadIdx.x % 32 / 4), length - 1);
            gate[h] = static_cast<float>(logits[position * step]) + __ldg(bias);
        }
    }

    // Divides by the total, gates, and writes a warp's rows; they pass through its own part of the queries' memory to leave as 16 bytes.
    static __device__ inline void finish(const float (&o)[D / 8][4], const float (&total)[2], const float (&gate)[2], uint4 *rows, T *out,
                                         size_t step, int left) {
        const int lane = threadIdx.x % 32;
#pragma unroll
        for (int h = 0; h < 2; h++) {
            const float scale = sigmoid(gate[h]) / sum_of_quad(total[h]);
            const int row = h * 8 + lane / 4;
#pragma unroll
            for (int j = 0; j < D / 8; j++)
                reinterpret_cast<uint32_t *>(rows + at(row, j))[lane % 4] = pack2<T>(o[j][2 * h] * scale, o[j][2 * h + 1] * scale);
        }
        __syncwarp();
#pragma unroll
        for (int i = 0; i < 16 * CHUNKS / 32; i++) {
            const int index = i * 32 + lane, row = index / CHUNKS, chunk = index % CHUNKS;
            if (row < left)
                *reinterpret_cast<uint4 *>(out + row * step + chunk * 8) = rows[at(row, chunk)];
        }
    }

    // Warps take part in a product together; one (or a group) past the end only helps to load.
    static __device__ inline bool active(int tile, int length) {
        const int warp = __shfl_sync(0xffffffffu, threadIdx.x / 32, 0); // so that the compiler sees that a warp agrees
        return tile * ROWS + (GROUPED ? warp / 4 * 4 : warp) * 16 < length;
    }

    static __device__ inline void run(const T *qkvg, const T *turned_keys, const float *gate_bias, const float *rotary, T *out,
                                      const AttentionShape &shape) {
        extern __shared__ __align__(1024) uint4 shared[];
        uint4 *const queries = shared, *const keys = queries + ROWS * CHUNKS, *const values = keys + STAGES * KEYS * CHUNKS;
        constexpr int STAGE = KEYS * CHUNKS;
        const int tile = blockIdx.x % shape.tiles, head = blockIdx.x / shape.tiles % shape.heads;
        const int sequence = blockIdx.x / shape.tiles / shape.heads;
        const size_t token = static_cast<size_t>(sequence / shape.inner) * shape.outer_stride +
                             static_cast<size_t>(sequence % shape.inner) * shape.inner_stride;
        const size_t step = static_cast<size_t>(shape.stride) * shape.columns;
        const int width = shape.heads * D, length = shape.length;
        const T *const from = qkvg + token * shape.columns + head * D;
        Cursor cursor(turned_keys + token * width + head * D, static_cast<size_t>(shape.stride) * width, from + 2 * width, step, length);
        fetch(keys, values, cursor);
        load_queries(queries, from, step, rotary, tile * ROWS, length);

        const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
        const int group = __shfl_sync(0xffffffffu, warp / 4, 0); // so that the compiler sees that a warp agrees
        const int first = tile * ROWS + warp * 16;               // the warp's first query
        const bool working = active(tile, length);
        float o[D / 8][4] = {}, less[4] = {}, total[2] = {};
        copy_async_wait();
        if (GROUPED)
            publish_to_products();
        __syncthreads();
        uint32_t q[D / 16][4];
        if (!GROUPED) // a warpgroup reads them from shared memory
#pragma unroll
            for (int d = 0; d < D / 16; d++)
                ldmatrix(q[d], queries + at(warp * 16 + (lane & 15), d * 2 + (lane >> 4)));

        const int blocks = (length + KEYS - 1) / KEYS;
        int stage = 0;
        for (int block = 0; block < blocks; block++) {
            const int next = stage + 1 < STAGES ? stage + 1 : 0;
            if (block > 0) {
                // One barrier a block: keys and values have arrived, and everybody is done with the stage that is filled next.
                copy_async_wait();
                if (GROUPED)
                    publish_to_products();
                __syncthreads();
            }
            if (block + 1 < blocks) {
                cursor.advance();
                fetch(keys + next * STAGE, values + next * STAGE, cursor);
            }
            if (working) {
                float s[KEYS / 8][4];
                if constexpr (GROUPED)
                    scores_grouped(s, o, queries + group * 64 * CHUNKS, keys + stage * STAGE, less);
                else
                    scores(s, q, keys + stage * STAGE, less);
                if ((block + 1) * KEYS > length)
                    mask(s, length - block * KEYS);
                uint32_t p[KEYS / 16][4];
                softmax(s, o, less, total, p, block == 0);
                if constexpr (GROUPED)
                    weigh_grouped(o, p, values + stage * STAGE);
                else
                    weigh(o, p, values + stage * STAGE);
            }
            stage = next;
        }
        if (!working)
            return;
        if constexpr (GROUPED) {
            warpgroup_wait(o);
            warpgroup_barrier(group); // nobody reads queries any more, in whose place results go
        }
        float gate[2]; // late, since there were no registers to spare
        load_gates(gate, qkvg + token * shape.columns + 3 * width + head, gate_bias + head, step, first, length);
        finish(o, total, gate, queries + warp * 16 * CHUNKS, out + (token + static_cast<size_t>(first) * shape.stride) * width + head * D,
               static_cast<size_t>(shape.stride) * width, length - first);
    }
};

// Sequences of one block of keys, whose work is mostly to wait for memory: a block takes unit after unit (a head of a sequence), and while
// one is worked on, the next arrives in the other half of shared memory. What a thread has copied it turns itself, in place.
template <typename T, int D, int WARPS> struct ManyShort {
    using One = Attention<T, D, WARPS>;
    static constexpr int CHUNKS = D / 8, PART = KEYS * CHUNKS, STAGE = 3 * PART, OWN = One::OWN, APART = One::APART;
    static_assert(WARPS * 16 == KEYS, "a block's queries are one block of keys");

    // Where a unit's first token is, and its head.
    struct Unit {
        size_t token;
        int head;
        __device__ inline Unit(int index, const AttentionShape &shape) : head(index % shape.heads) {
            const int sequence = index / shape.heads;
            token = static_cast<size_t>(sequence / shape.inner) * shape.outer_stride +
                    static_cast<size_t>(sequence % shape.inner) * shape.inner_stride;
        }
    };

    // Sets out for a unit's queries, keys and values, and its gate logits.
    static __device__ inline void fetch(uint4 *to, float (&gate)[2], const T *qkvg, const float *gate_bias, const Unit &unit,
                                        const AttentionShape &shape) {
        const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS, width = shape.heads * D, left = shape.length - row;
        const size_t step = static_cast<size_t>(shape.stride) * shape.columns;
        const T *const first = qkvg + unit.token * shape.columns, *const from = first + unit.head * D + row * step + chunk * 8;
#pragma unroll
        for (int part = 0; part < 3; part++)
            One::copy_rows(to + part * PART, from + part * width, step, left);
        One::load_gates(gate, first + 3 * width + unit.head, gate_bias + unit.head, step, threadIdx.x / 32 * 16, shape.length);
    }

    // Turns the thread's own queries and keys; what is beyond the sequence's end is zero and stays so.
    static __device__ inline void turn(uint4 *queries, uint4 *keys, const float *rotary, int length) {
        const float scale = rsqrtf(static_cast<float>(D)) * One::LOG2E;
        const int row = threadIdx.x / CHUNKS, chunk = threadIdx.x % CHUNKS;
#pragma unroll 2 // more at once takes more registers than there are
        for (int i = 0; i < OWN; i++) {
            const int at = One::own() + i * APART * CHUNKS;
            if (row + i * APART < length) {
                float angles[8];
                parameters(rotary + (row + i * APART) * D + chunk * 8, angles);
                queries[at] = turned<T>(queries[at], angles, scale);
                keys[at] = turned<T>(keys[at], angles, 1.0f);
            }
        }
    }

    static __device__ inline void attend(uint4 *queries, const uint4 *keys, const uint4 *values, const float (&gate)[2], T *out,
                                         const Unit &unit, const AttentionShape &shape) {
        const int lane = threadIdx.x % 32, first = threadIdx.x / 32 * 16, width = shape.heads * D;
        if (first >= shape.length)
            return;
        uint32_t q[D / 16][4], p[KEYS / 16][4];
#pragma unroll
        for (int d = 0; d < D / 16; d++)
            ldmatrix(q[d], queries + One::at(first + (lane & 15), d * 2 + (lane >> 4)));
        float o[D / 8][4] = {}, less[4] = {}, total[2] = {}, s[KEYS / 8][4];
        One::scores(s, q, keys, less);
        One::mask(s, shape.length);
        One::softmax(s, o, less, total, p, true);
        One::weigh(o, p, values);
        One::finish(o, total, gate, queries + first * CHUNKS,
                    out + (unit.token + static_cast<size_t>(first) * shape.stride) * width + unit.head * D,
                    static_cast<size_t>(shape.stride) * width, shape.length - first);
    }

    static __device__ inline void run(const T *qkvg, const float *gate_bias, const float *rotary, T *out, const AttentionShape &shape,
                                      int units) {
        extern __shared__ __align__(1024) uint4 shared[];
        uint4 *now = shared, *later = shared + STAGE;
        int index = blockIdx.x;
        Unit unit(index, shape);
        float gate[2], next_gate[2];
        if (index < units)
            fetch(now, gate, qkvg, gate_bias, unit, shape);
        while (index < units) {
            copy_async_wait();
            turn(now, now + PART, rotary, shape.length);
            __syncthreads(); // this unit is there, and everybody is done with the one before
            index += gridDim.x;
            const Unit next(index, shape);
            if (index < units)
                fetch(later, next_gate, qkvg, gate_bias, next, shape);
            attend(now, now + PART, now + 2 * PART, gate, out, unit, shape);
            unit = next;
            gate[0] = next_gate[0];
            gate[1] = next_gate[1];
            uint4 *const used = now;
            now = later;
            later = used;
        }
    }
};

// Turns the keys of all heads: [tokens, heads * D]. A thread has one chunk; neighbours have one position, whose angles they share.
template <typename T, int D>
__device__ inline void turn_keys(const T *qkvg, const float *rotary, T *out, unsigned chunks, const AttentionShape &shape) {
    const unsigned index = blockIdx.x * THREADS + threadIdx.x, width = shape.heads * D / 8;
    if (index >= chunks)
        return;
    const unsigned row = index / width, chunk = index - row * width;
    const unsigned line = row / shape.inner, inner = row - line * shape.inner;
    const unsigned outer = line / shape.length, position = line - outer * shape.length;
    const size_t token = static_cast<size_t>(outer) * shape.outer_stride + static_cast<size_t>(inner) * shape.inner_stride +
                         static_cast<size_t>(position) * shape.stride;
    const uint4 bits = *reinterpret_cast<const uint4 *>(qkvg + token * shape.columns + (width + chunk) * 8);
    *reinterpret_cast<uint4 *>(out + token * width * 8 + chunk * 8) = turned<T>(bits, rotary + position * D + chunk % (D / 8) * 8, 1.0f);
}

// f32 data, for comparisons: a thread has a query, keys and values pass through shared memory. Nothing here is tuned.
template <int D>
__device__ inline void attention_plain(const float *qkvg, const float *gate_bias, const float *rotary, float *out,
                                       const AttentionShape &shape) {
    constexpr int BLOCK = 32; // keys
    __shared__ float keys[BLOCK][D], values[BLOCK][D];
    const int head = blockIdx.x / shape.tiles % shape.heads, sequence = blockIdx.x / shape.tiles / shape.heads;
    const size_t token = static_cast<size_t>(sequence / shape.inner) * shape.outer_stride +
                         static_cast<size_t>(sequence % shape.inner) * shape.inner_stride;
    const size_t step = static_cast<size_t>(shape.stride) * shape.columns;
    const int width = shape.heads * D, length = shape.length;
    const int position = blockIdx.x % shape.tiles * blockDim.x + threadIdx.x;
    const int own = min(position, length - 1);
    const float *const from = qkvg + token * shape.columns + head * D;
    float q[D], o[D], most = -INFINITY, total = 0.0f;
#pragma unroll
    for (int d = 0; d < D; d += 2) {
        const float x = from[own * step + d], y = from[own * step + d + 1];
        const float c = rotary[own * D + d], s = rotary[own * D + d + 1];
        q[d] = (x * c - y * s) * rsqrtf(static_cast<float>(D));
        q[d + 1] = (y * c + x * s) * rsqrtf(static_cast<float>(D));
        o[d] = o[d + 1] = 0.0f;
    }
    for (int first = 0; first < length; first += BLOCK) {
        __syncthreads();
        for (int i = 2 * threadIdx.x; i < BLOCK * D; i += 2 * blockDim.x) {
            const int row = i / D, d = i % D, at = min(first + row, length - 1);
            const float *const k = from + at * step + width + d, *const v = k + width;
            const float c = rotary[at * D + d], s = rotary[at * D + d + 1];
            keys[row][d] = k[0] * c - k[1] * s;
            keys[row][d + 1] = k[1] * c + k[0] * s;
            values[row][d] = v[0];
            values[row][d + 1] = v[1];
        }
        __syncthreads();
        for (int row = 0; row < min(BLOCK, length - first); row++) {
            float score = 0.0f;
#pragma unroll
            for (int d = 0; d < D; d++)
                score = fmaf(q[d], keys[row][d], score);
            const float largest = fmaxf(most, score), scale = expf(most - largest), weight = expf(score - largest);
            most = largest;
            total = total * scale + weight;
#pragma unroll
            for (int d = 0; d < D; d++)
                o[d] = fmaf(weight, values[row][d], o[d] * scale);
        }
    }
    if (position >= length)
        return;
    const float logit = qkvg[token * shape.columns + position * step + 3 * width + head] + gate_bias[head];
    const float scale = 1.0f / (1.0f + expf(-logit)) / total;
    float *const to = out + (token + static_cast<size_t>(position) * shape.stride) * width + head * D;
#pragma unroll
    for (int d = 0; d < D; d++)
        to[d] = o[d] * scale;
}

// Shapes are plain arguments, so that a kernel can be launched from anywhere without agreeing on a struct.
#define ATTENTION_ARGUMENTS(T)                                                                                                         \
    const T *qkvg, const float *gate_bias, const float *rotary, T *out, int heads, int columns, int length, int tiles, int inner,      \
        int outer_stride, int inner_stride, int stride
#define ATTENTION_SHAPE {heads, columns, length, tiles, inner, outer_stride, inner_stride, stride}
#define ATTENTION_SHORT_KERNEL(FUNCTION, T, D, WARPS, BLOCKS)                                                                          \
    extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS) FUNCTION(ATTENTION_ARGUMENTS(T), int units) {                     \
        ManyShort<T, D, WARPS>::run(qkvg, gate_bias, rotary, out, ATTENTION_SHAPE, units);                                             \
    }
#define ATTENTION_LONG_KERNEL(FUNCTION, T, D, WARPS, BLOCKS, GROUPED)                                                                  \
    extern "C" __global__ void __launch_bounds__(WARPS * 32, BLOCKS) FUNCTION(const T *turned_keys, ATTENTION_ARGUMENTS(T)) {          \
        Attention<T, D, WARPS, GROUPED>::run(qkvg, turned_keys, gate_bias, rotary, out, ATTENTION_SHAPE);                              \
    }
#define TURN_KEYS_KERNEL(FUNCTION, T, D)                                                                                               \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                              \
        FUNCTION(const T *qkvg, const float *rotary, T *out, unsigned chunks, int heads, int columns, int length, int inner,           \
                 int outer_stride, int inner_stride, int stride) {                                                                     \
        turn_keys<T, D>(qkvg, rotary, out, chunks, {heads, columns, length, 0, inner, outer_stride, inner_stride, stride});            \
    }
