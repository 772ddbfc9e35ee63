// The two ends of the network: bands of a spectrum, masks on its bins, frames added up to audio. Audio and spectra are f32.
#pragma once
#include "common.cuh"

// out[s] = sum of frame * window over the frames that reach s, by the sum of window^2. A thread has one sample; neighbours read neighbours.
extern "C" __global__ void __launch_bounds__(THREADS) overlap_add_f32(const float *frames, const float *window, float *out, unsigned total,
                                                                      int samples, int count, int n, int hop) {
    const unsigned i = blockIdx.x * THREADS + threadIdx.x;
    if (i >= total)
        return;
    const unsigned signal = i / samples;
    const int position = static_cast<int>(i - signal * samples) + n / 2;
    const int first = position < n ? 0 : (position - n) / hop + 1;
    const int last = min(position / hop, count - 1);
    const float *from = frames + static_cast<size_t>(signal) * count * n;
    float sum = 0.0f, envelope = 0.0f;
    for (int frame = first; frame <= last; frame++) {
        const int k = position - frame * hop;
        const float w = __ldg(window + k);
        sum = fmaf(from[static_cast<size_t>(frame) * n + k], w, sum);
        envelope = fmaf(w, w, envelope);
    }
    out[i] = envelope > 1e-11f ? sum / envelope : 0.0f;
}

// A band: its first bin, values in a row, the same with padding, values of all bands before it. See BandLayout in Rust.
struct Band {
    uint32_t start, values, width, offset;
};

// A block has one frame: its bins go to shared memory in the bands' order (bin, channel, re/im), so that a band is one run of values
// there; then each warp normalises bands, a pack a lane.
template <typename T>
__device__ inline void band_features(const float2 *spectrum, const Band *bands, const float *gamma, T *out, int frames, int rows, int bins,
                                     int channels, int count, float eps) {
    constexpr int N = Pack<T>::N;
    extern __shared__ float2 line[];
    const int row = blockIdx.x;
    const size_t first = (static_cast<size_t>(row / frames) * channels * frames + row % frames) * bins;
    for (int channel = 0; channel < channels; channel++)
        for (int bin = threadIdx.x; bin < bins; bin += THREADS)
            line[bin * channels + channel] = spectrum[first + static_cast<size_t>(channel) * frames * bins + bin];
    __syncthreads();
    const int lane = threadIdx.x % 32;
    for (int b = threadIdx.x / 32; b < count; b += THREADS / 32) {
        const Band band = bands[b];
        const float *values = reinterpret_cast<const float *>(line + band.start * channels);
        float squares = 0.0f;
        for (unsigned i = lane; i < band.values; i += 32)
            squares += values[i] * values[i];
#pragma unroll
        for (int step = 16; step > 0; step /= 2)
            squares += __shfl_xor_sync(0xffffffffu, squares, step);
        const float scale = rsqrtf(squares / static_cast<float>(band.values) + eps);
        T *to = out + static_cast<size_t>(rows) * band.offset + static_cast<size_t>(row) * band.width;
        for (unsigned i = lane * N; i < band.width; i += 32 * N) {
            float v[N];
#pragma unroll
            for (int k = 0; k < N; k++)
                v[k] = i + k < band.values ? values[i + k] * scale * __ldg(gamma + band.offset + i + k) : 0.0f;
            store(to + i, v);
        }
    }
}

// A thread has one bin of one frame in all channels: their masks are neighbours. cover: of each bin the first band and how many.
template <typename T>
__device__ inline void apply_masks(const float2 *spectrum, const T *masks, const Band *bands, const uint2 *cover, float2 *out, int frames,
                                   int rows, int bins, int channels) {
    const unsigned index = blockIdx.x * THREADS + threadIdx.x;
    if (index >= static_cast<unsigned>(rows) * bins)
        return;
    const int row = index / bins, bin = index % bins;
    const uint2 covering = cover[bin];
    const size_t first = (static_cast<size_t>(row / frames) * channels * frames + row % frames) * bins + bin;
    for (int channel = 0; channel < channels; channel++) {
        float re = 0.0f, im = 0.0f;
        for (unsigned b = covering.x; b < covering.x + covering.y; b++) {
            const Band band = bands[b];
            const T *mask = masks + static_cast<size_t>(rows) * band.offset + static_cast<size_t>(row) * band.width +
                            ((bin - band.start) * channels + channel) * 2;
            re += static_cast<float>(mask[0]);
            im += static_cast<float>(mask[1]);
        }
        re /= covering.y;
        im /= covering.y;
        const size_t at = first + static_cast<size_t>(channel) * frames * bins;
        const float2 x = spectrum[at];
        out[at] = make_float2(x.x * re - x.y * im, x.x * im + x.y * re);
    }
}

#define SPECTRUM_KERNELS(NAME, T)                                                                                                      \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                             \
        band_features_##NAME(const float2 *spectrum, const Band *bands, const float *gamma, T *out, int frames, int rows, int bins,    \
                             int channels, int count, float eps) {                                                                     \
        band_features<T>(spectrum, bands, gamma, out, frames, rows, bins, channels, count, eps);                                       \
    }                                                                                                                                  \
    extern "C" __global__ void __launch_bounds__(THREADS)                                                                             \
        apply_masks_##NAME(const float2 *spectrum, const T *masks, const Band *bands, const uint2 *cover, float2 *out, int frames,     \
                           int rows, int bins, int channels) {                                                                         \
        apply_masks<T>(spectrum, masks, bands, cover, out, frames, rows, bins, channels);                                              \
    }
SPECTRUM_KERNELS(f16, __half)
SPECTRUM_KERNELS(bf16, __nv_bfloat16)
SPECTRUM_KERNELS(f32, float)
