// SIMD vectors as wide as the registers that this translation unit is compiled for, by the vector
// extensions of GCC and Clang: + - * / and comparisons are elementwise. All other
// processor-specific code is here, too.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <utility>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#if !defined(CHAINRULE_ISA)
#error "compile with -DCHAINRULE_ISA=name, the namespace of the kernels for one instruction set"
#endif

#include "share.h"

// CHAINRULE_HALF halves the width, for matrices whose rows would not fill a whole vector (see
// narrow.cpp).
#if defined(__AVX512F__) && !defined(CHAINRULE_HALF)
#define CHAINRULE_512
#endif

#define INLINE_LAMBDA __attribute__((always_inline))
#define KEEP_TOGETHER(pointer) asm("" : "+r"(pointer))  // makes the compiler address by offsets from it

namespace chainrule::CHAINRULE_ISA {

#if defined(CHAINRULE_512)
constexpr int BYTES = 64;
#elif defined(__AVX2__)
constexpr int BYTES = 32;
#else
constexpr int BYTES = 16;
#endif

template <class T> struct Lanes;
template <> struct Lanes<float> {
    typedef float V __attribute__((vector_size(BYTES)));
    typedef int32_t I __attribute__((vector_size(BYTES)));
};
template <> struct Lanes<double> {
    typedef double V __attribute__((vector_size(BYTES)));
    typedef int64_t I __attribute__((vector_size(BYTES)));
};
template <class T> using Vec = typename Lanes<T>::V;
template <class T> using Int = typename Lanes<T>::I;
template <class T> constexpr long WIDTH = BYTES / sizeof(T);

template <class T> INLINE Vec<T> load(const T* from) {
    Vec<T> v;
    std::memcpy(&v, from, BYTES);
    return v;
}
template <class T> INLINE void store(T* to, Vec<T> v) { std::memcpy(to, &v, BYTES); }

INLINE Vec<float> broadcast(float s) {
#if defined(CHAINRULE_512)
    return (Vec<float>)_mm512_set1_ps(s);
#elif defined(__AVX2__)
    return (Vec<float>)_mm256_set1_ps(s);
#else
    return Vec<float>{s, s, s, s};
#endif
}
INLINE Vec<double> broadcast(double s) {
#if defined(CHAINRULE_512)
    return (Vec<double>)_mm512_set1_pd(s);
#elif defined(__AVX2__)
    return (Vec<double>)_mm256_set1_pd(s);
#else
    return Vec<double>{s, s};
#endif
}

// Loads the first `count` lanes and sets the others to 0; reads nothing beyond.
template <class T> INLINE Vec<T> load_part(const T* from, long count) {
    Vec<T> v = {};
#if defined(CHAINRULE_512)
    if constexpr (sizeof(T) == 4) v = (Vec<T>)_mm512_maskz_loadu_ps((__mmask16)((1u << count) - 1), from);
    else v = (Vec<T>)_mm512_maskz_loadu_pd((__mmask8)((1u << count) - 1), from);
#elif defined(__AVX512VL__)
    if constexpr (sizeof(T) == 4) v = (Vec<T>)_mm256_maskz_loadu_ps((__mmask8)((1u << count) - 1), from);
    else v = (Vec<T>)_mm256_maskz_loadu_pd((__mmask8)((1u << count) - 1), from);
#else
    std::memcpy(&v, from, count * sizeof(T));
#endif
    return v;
}

// Stores the first `count` lanes; writes nothing beyond.
template <class T> INLINE void store_part(T* to, Vec<T> v, long count) {
#if defined(CHAINRULE_512)
    if constexpr (sizeof(T) == 4) _mm512_mask_storeu_ps(to, (__mmask16)((1u << count) - 1), (__m512)v);
    else _mm512_mask_storeu_pd(to, (__mmask8)((1u << count) - 1), (__m512d)v);
#elif defined(__AVX512VL__)
    if constexpr (sizeof(T) == 4) _mm256_mask_storeu_ps(to, (__mmask8)((1u << count) - 1), (__m256)v);
    else _mm256_mask_storeu_pd(to, (__mmask8)((1u << count) - 1), (__m256d)v);
#else
    T lanes[WIDTH<T>];
    store(lanes, v);
    std::memcpy(to, lanes, count * sizeof(T));
#endif
}

INLINE Vec<float> sqrt_of(Vec<float> v) {
#if defined(CHAINRULE_512)
    return (Vec<float>)_mm512_sqrt_ps((__m512)v);
#elif defined(__AVX2__)
    return (Vec<float>)_mm256_sqrt_ps((__m256)v);
#else
    for (int i = 0; i < WIDTH<float>; ++i) v[i] = std::sqrt(v[i]);
    return v;
#endif
}
INLINE Vec<double> sqrt_of(Vec<double> v) {
#if defined(CHAINRULE_512)
    return (Vec<double>)_mm512_sqrt_pd((__m512d)v);
#elif defined(__AVX2__)
    return (Vec<double>)_mm256_sqrt_pd((__m256d)v);
#else
    for (int i = 0; i < WIDTH<double>; ++i) v[i] = std::sqrt(v[i]);
    return v;
#endif
}

template <class V> INLINE V abs_of(V v) { return v < 0 ? -v : v; }
template <class V> INLINE V sign_of(V v) {
    const V zero = {}, one = zero + 1;
    return (v > zero ? one : zero) - (v < zero ? one : zero) + v * zero;  // NaN stays NaN
}

template <class T, long BY, size_t... I> INLINE Vec<T> rotated(Vec<T> v, std::index_sequence<I...>) {
    return __builtin_shufflevector(v, v, ((I + BY) % sizeof...(I))...);
}
// What f, which takes two vectors, makes of all lanes: of halves, then of their halves, and so on.
template <class T, long BY = WIDTH<T> / 2, class F> INLINE T folded(Vec<T> v, F f) {
    v = f(v, rotated<T, BY>(v, std::make_index_sequence<WIDTH<T>>{}));
    if constexpr (BY > 1) return folded<T, BY / 2>(v, f);
    else return v[0];
}
template <class T> INLINE T sum_of(Vec<T> v) {
    return folded<T>(v, [](Vec<T> a, Vec<T> b) INLINE_LAMBDA { return a + b; });
}
// 0, 1, 2 and so on.
template <class T> INLINE Vec<T> counted() {
    Vec<T> v = {};
    for (int i = 0; i < WIDTH<T>; ++i) v[i] = T(i);
    return v;
}

// Interleaves the lower (or upper) halves of a and b.
template <class T, bool UPPER, class V, size_t... I>
INLINE V interleaved(V a, V b, std::index_sequence<I...>) {
    constexpr size_t W = sizeof...(I), from = UPPER ? W / 2 : 0;
    return __builtin_shufflevector(a, b, (from + I / 2 + (I % 2 ? W : 0))...);
}

// Loads a W by W block, whose rows are `stride` apart, transposed: vector j has column j. Takes
// log2 W rounds of interleaving halves.
template <class T> INLINE void load_transposed(const T* from, long stride, Vec<T>* v) {
    constexpr size_t W = WIDTH<T>;
    using Lane = std::make_index_sequence<W>;
    Vec<T> next[W];
#pragma GCC unroll 16
    for (size_t i = 0; i < W; ++i) v[i] = load(from + long(i) * stride);
#pragma GCC unroll 4
    for (size_t round = 1; round < W; round *= 2) {
#pragma GCC unroll 16
        for (size_t i = 0; i < W / 2; ++i) {
            next[2 * i] = interleaved<T, false>(v[i], v[i + W / 2], Lane{});
            next[2 * i + 1] = interleaved<T, true>(v[i], v[i + W / 2], Lane{});
        }
#pragma GCC unroll 16
        for (size_t i = 0; i < W; ++i) v[i] = next[i];
    }
}

#if defined(CHAINRULE_512)
// The same with half the instructions: loads 128 bits of four rows into each vector and transposes
// 4 by 4 blocks there.
template <> INLINE void load_transposed<float>(const float* from, long stride, Vec<float>* v) {
#pragma GCC unroll 4
    for (int block = 0; block < 4; ++block) {
        __m512 rows[4];
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const float* at = from + i * stride + 4 * block;
            __m512 row = _mm512_castps128_ps512(_mm_loadu_ps(at));
            row = _mm512_mask_broadcast_f32x4(row, 0x00f0, _mm_loadu_ps(at + 4 * stride));
            row = _mm512_mask_broadcast_f32x4(row, 0x0f00, _mm_loadu_ps(at + 8 * stride));
            rows[i] = _mm512_mask_broadcast_f32x4(row, 0xf000, _mm_loadu_ps(at + 12 * stride));
        }
        const __m512 a = _mm512_unpacklo_ps(rows[0], rows[1]), b = _mm512_unpackhi_ps(rows[0], rows[1]);
        const __m512 c = _mm512_unpacklo_ps(rows[2], rows[3]), d = _mm512_unpackhi_ps(rows[2], rows[3]);
        v[4 * block] = (Vec<float>)_mm512_shuffle_ps(a, c, 0x44);
        v[4 * block + 1] = (Vec<float>)_mm512_shuffle_ps(a, c, 0xee);
        v[4 * block + 2] = (Vec<float>)_mm512_shuffle_ps(b, d, 0x44);
        v[4 * block + 3] = (Vec<float>)_mm512_shuffle_ps(b, d, 0xee);
    }
}
#endif

// Calls f(index, load, store) for whole vectors of `count` numbers, then for the partial vector
// that remains.
template <class T, class F> INLINE void over(long count, F f) {
    long k = 0;
    for (; k + WIDTH<T> <= count; k += WIDTH<T>)
        f(k, [](const T* from) { return load(from); }, [](T* to, Vec<T> v) { store(to, v); });
    if (k < count) {
        const long left = count - k;
        f(k, [left](const T* from) { return load_part(from, left); },
          [left](T* to, Vec<T> v) { store_part(to, v, left); });
    }
}

}  // namespace chainrule::CHAINRULE_ISA
