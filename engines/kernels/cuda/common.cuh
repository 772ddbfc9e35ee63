// What every kernel here shares: 16-byte accesses, f32 arithmetic, whatever type the data has.
#pragma once
#include <cstdint>
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// Threads of a block in the kernels that only move memory.
constexpr int THREADS = 256;

// Two values as one 32-bit register, and back.
template <typename T> __device__ inline uint32_t pack2(float low, float high);
template <> __device__ inline uint32_t pack2<__half>(float low, float high) {
    __half2 pair = __floats2half2_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}
template <> __device__ inline uint32_t pack2<__nv_bfloat16>(float low, float high) {
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return *reinterpret_cast<uint32_t *>(&pair);
}
template <typename T> __device__ inline float2 unpack2(uint32_t bits);
template <> __device__ inline float2 unpack2<__half>(uint32_t bits) {
    return __half22float2(*reinterpret_cast<__half2 *>(&bits));
}
template <> __device__ inline float2 unpack2<__nv_bfloat16>(uint32_t bits) {
    return __bfloat1622float2(*reinterpret_cast<__nv_bfloat162 *>(&bits));
}

// 16 bytes of data as floats: 8 of them for 16-bit types, 4 for f32.
template <typename T> struct Pack {
    static constexpr int N = 8;
    static __device__ inline void unpack(uint4 bits, float (&v)[8]) {
        const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
        for (int i = 0; i < 4; i++) {
            const float2 pair = unpack2<T>(words[i]);
            v[2 * i] = pair.x;
            v[2 * i + 1] = pair.y;
        }
    }
    static __device__ inline uint4 pack(const float (&v)[8]) {
        return make_uint4(pack2<T>(v[0], v[1]), pack2<T>(v[2], v[3]), pack2<T>(v[4], v[5]), pack2<T>(v[6], v[7]));
    }
};
template <> struct Pack<float> {
    static constexpr int N = 4;
    static __device__ inline void unpack(uint4 bits, float (&v)[4]) {
        v[0] = __uint_as_float(bits.x);
        v[1] = __uint_as_float(bits.y);
        v[2] = __uint_as_float(bits.z);
        v[3] = __uint_as_float(bits.w);
    }
    static __device__ inline uint4 pack(const float (&v)[4]) {
        return make_uint4(__float_as_uint(v[0]), __float_as_uint(v[1]), __float_as_uint(v[2]), __float_as_uint(v[3]));
    }
};

template <typename T> __device__ inline void load(const T *from, float (&v)[Pack<T>::N]) {
    Pack<T>::unpack(*reinterpret_cast<const uint4 *>(from), v);
}
template <typename T> __device__ inline void store(T *to, const float (&v)[Pack<T>::N]) {
    *reinterpret_cast<uint4 *>(to) = Pack<T>::pack(v);
}

// As many f32 parameters as a pack has values. They are few and read by every row, so they come from the cache.
template <int N> __device__ inline void parameters(const float *from, float (&v)[N]) {
#pragma unroll
    for (int i = 0; i < N; i += 4) {
        const float4 four = __ldg(reinterpret_cast<const float4 *>(from + i));
        v[i] = four.x;
        v[i + 1] = four.y;
        v[i + 2] = four.z;
        v[i + 3] = four.w;
    }
}

__device__ inline float sigmoid(float x) { return 1.0f / (1.0f + __expf(-x)); }
