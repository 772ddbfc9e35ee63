// Fourier transforms of real frames of n samples, n a power of two: one block a frame, n/8 threads, all in shared memory.
//
// Two neighbours of a frame are one complex number, so n real samples are m = n/2 points, and the two halves are told apart at the end
// (or put together at the beginning, on the way back). Passes of radix 4, and one of radix 2 if the points are no power of four, go from
// one buffer to the other; their order is Stockham's, which leaves the points where they belong. Angles are exact fractions of a turn.
#pragma once
#include "common.cuh"

__device__ inline float2 operator+(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ inline float2 operator-(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ inline float2 operator*(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
__device__ inline float2 conjugate(float2 a) { return make_float2(a.x, -a.y); }
// By i, or by -i.
template <bool UP> __device__ inline float2 quarter(float2 a) { return UP ? make_float2(-a.y, a.x) : make_float2(a.y, -a.x); }
// e^(i pi halves), or of its negative.
template <bool UP> __device__ inline float2 unit(float halves) {
    float2 to;
    sincospif(UP ? halves : -halves, &to.y, &to.x);
    return to;
}

// Where a point lies: a gap after every 16, so that points four apart are in different banks.
__device__ inline int slot(int point) { return point + (point >> 4); }

// Four points to their transform.
template <bool UP> __device__ inline void butterfly(float2 (&v)[4]) {
    const float2 a = v[0] + v[2], b = v[0] - v[2], c = v[1] + v[3], d = quarter<UP>(v[1] - v[3]);
    v[0] = a + c;
    v[1] = b + d;
    v[2] = a - c;
    v[3] = b - d;
}

// A pass of radix 4 on the thread's points: `done` points belong together so far.
template <bool UP> __device__ inline void pass(float2 (&v)[4], float2 *to, int done) {
    const int thread = threadIdx.x, within = thread & (done - 1);
    if (done > 1) {
        const float2 w = unit<UP>(0.5f * static_cast<float>(within) / static_cast<float>(done)), w2 = w * w;
        v[1] = v[1] * w;
        v[2] = v[2] * w2;
        v[3] = v[3] * (w2 * w);
    }
    butterfly<UP>(v);
    const int first = (thread - within) * 4 + within;
#pragma unroll
    for (int r = 0; r < 4; r++)
        to[slot(first + r * done)] = v[r];
}

// Transforms the block's points, of which a thread holds every fourth of m; returns where they end.
template <bool UP> __device__ inline float2 *transform(float2 (&v)[4], float2 *shared, int m) {
    float2 *to = shared, *other = shared + slot(m);
    const int thread = threadIdx.x;
    pass<UP>(v, to, 1);
    int done = 4;
    for (; done * 4 <= m; done *= 4) {
        __syncthreads();
#pragma unroll
        for (int r = 0; r < 4; r++)
            v[r] = to[slot(thread + r * (m / 4))];
        float2 *const next = other;
        other = to;
        to = next;
        pass<UP>(v, to, done);
    }
    __syncthreads();
    if (done == m)
        return to;
    for (int i = thread; i < m / 2; i += m / 4) {
        const float2 a = to[slot(i)], b = to[slot(i + m / 2)] * unit<UP>(static_cast<float>(i) / static_cast<float>(done));
        other[slot(i)] = a + b;
        other[slot(i + m / 2)] = a - b;
    }
    __syncthreads();
    return other;
}

// The sample at a position, beyond the ends mirrored.
__device__ inline float mirrored(const float *audio, int position, int samples) {
    position = abs(position);
    return audio[position >= samples ? 2 * (samples - 1) - position : position];
}

// out[frame][k] for k in 0..=n/2: the transform of audio[frame * hop + i - n/2] * window[i].
extern "C" __global__ void __launch_bounds__(1024)
    spectra_f32(const float *audio, const float *window, float2 *out, int samples, int frames, int n, int hop) {
    extern __shared__ float2 points[];
    const int m = n / 2, signal = blockIdx.x / frames, start = (blockIdx.x - signal * frames) * hop - m;
    const float *const from = audio + static_cast<size_t>(signal) * samples;
    float2 v[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int i = 2 * (threadIdx.x + r * (m / 4));
        const float2 w = __ldg(reinterpret_cast<const float2 *>(window + i));
        v[r] = make_float2(mirrored(from, start + i, samples) * w.x, mirrored(from, start + i + 1, samples) * w.y);
    }
    const float2 *const z = transform<false>(v, points, m);
    out += static_cast<size_t>(blockIdx.x) * (m + 1);
    for (int k = threadIdx.x; k <= m; k += m / 4) {
        const float2 a = z[slot(k & (m - 1))], b = conjugate(z[slot((m - k) & (m - 1))]);
        const float2 even = a + b, odd = quarter<false>(a - b) * unit<false>(static_cast<float>(k) / static_cast<float>(m));
        out[k] = make_float2(0.5f * (even.x + odd.x), 0.5f * (even.y + odd.y));
    }
}

// The way back: frames of n samples. What is imaginary at the two ends of a spectrum counts for nothing, as no real frame has it.
extern "C" __global__ void __launch_bounds__(1024) frames_f32(const float2 *spectra, float2 *out, int n) {
    extern __shared__ float2 points[];
    const int m = n / 2;
    const float2 *const from = spectra + static_cast<size_t>(blockIdx.x) * (m + 1);
    const float share = 0.5f / static_cast<float>(m);
    float2 v[4];
#pragma unroll
    for (int r = 0; r < 4; r++) {
        const int k = threadIdx.x + r * (m / 4);
        float2 a = from[k], b = conjugate(from[m - k]);
        if (k == 0)
            a.y = b.y = 0.0f;
        const float2 even = a + b, odd = quarter<true>(a - b) * unit<true>(static_cast<float>(k) / static_cast<float>(m));
        v[r] = make_float2(share * (even.x + odd.x), share * (even.y + odd.y));
    }
    const float2 *const z = transform<true>(v, points, m);
    out += static_cast<size_t>(blockIdx.x) * m;
    for (int i = threadIdx.x; i < m; i += m / 4)
        out[i] = z[slot(i)];
}
