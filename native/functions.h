// exp, log and related functions on vectors, accurate to a few units in the last place. Their
// polynomials are truncated Taylor series on a reduced range, so that one formula serves both
// precisions.
#pragma once

#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Format;
template <> struct Format<float> {
    // 1.5 * 2^23: adding it rounds to a whole number, in the low bits.
    static constexpr float magic = 12582912.0f;
    static constexpr int mantissa = 23;
    static constexpr int32_t one = 127;
    static constexpr float ln2_high = 0.693359375f, ln2_low = -2.12194440e-4f;
    static constexpr float highest = 88.8f, lowest = -87.3f;
    static constexpr int exp_terms = 7;
    static constexpr int log_terms = 5;
};
template <> struct Format<double> {
    static constexpr double magic = 6755399441055744.0;  // 1.5 * 2^52
    static constexpr int mantissa = 52;
    static constexpr int64_t one = 1023;
    static constexpr double ln2_high = 0.693145751953125, ln2_low = 1.42860682030941723212e-6;
    static constexpr double highest = 709.9, lowest = -708.3;
    static constexpr int exp_terms = 13;
    static constexpr int log_terms = 11;
};

constexpr double inverse_factorial(int n) { return n <= 1 ? 1.0 : inverse_factorial(n - 1) / n; }

// Writes x = n ln 2 + r with |r| <= ln 2 / 2; returns exp(r) - 1 and sets half_power = 2^(n - 1),
// which can't overflow.
template <class T> INLINE Vec<T> reduced_expm1(Vec<T> x, Vec<T>& half_power) {
    using F = Format<T>;
    const Vec<T> shifted = x * T(1.44269504088896340736) + F::magic;
    const Vec<T> n = shifted - F::magic;
    const Vec<T> r = (x - n * F::ln2_high) - n * F::ln2_low;
    Vec<T> p = broadcast(T(inverse_factorial(F::exp_terms)));
#pragma GCC unroll 16
    for (int k = F::exp_terms - 1; k >= 2; --k) p = p * r + T(inverse_factorial(k));
    half_power = (Vec<T>)(((Int<T>)shifted << F::mantissa) + ((F::one - 1) << F::mantissa));
    return p * r * r + r;
}

template <class T> INLINE Vec<T> exp_of(Vec<T> x) {
    using F = Format<T>;
    const Vec<T> bounded = x > F::highest ? broadcast(F::highest) : (x < F::lowest ? broadcast(F::lowest) : x);
    Vec<T> half;
    const Vec<T> p = reduced_expm1<T>(bounded, half);
    const Vec<T> value = (p * half + half) * 2;
    return x < F::lowest ? Vec<T>{} : value;
}

template <class T> INLINE Vec<T> expm1_of(Vec<T> x) {
    using F = Format<T>;
    const Vec<T> bounded = x > F::highest ? broadcast(F::highest) : (x < F::lowest ? broadcast(F::lowest) : x);
    Vec<T> half;
    const Vec<T> p = reduced_expm1<T>(bounded, half);
    return ((half - T(0.5)) + p * half) * 2;
}

// log(x) for x > 0; -infinity at 0, NaN below.
template <class T> INLINE Vec<T> log_of(Vec<T> x) {
    using F = Format<T>;
    constexpr auto mask = (decltype(F::one))(((int64_t)1 << F::mantissa) - 1);
    const Int<T> bits = (Int<T>)x;
    Int<T> exponent = (bits >> F::mantissa) - F::one;
    Vec<T> m = (Vec<T>)((bits & mask) | (F::one << F::mantissa));  // 1 <= m < 2
    const auto upper = m > T(1.41421356237309504880);
    m = upper ? m * T(0.5) : m;
    exponent = upper ? exponent + 1 : exponent;
    const Vec<T> e = __builtin_convertvector(exponent, Vec<T>);
    const Vec<T> f = m - 1, s = f / (m + 1), z = s * s;  // log m = 2 atanh s
    Vec<T> p = broadcast(T(2.0 / (2 * F::log_terms + 1)));
#pragma GCC unroll 16
    for (int k = F::log_terms - 1; k >= 1; --k) p = p * z + T(2.0 / (2 * k + 1));
    const Vec<T> value = e * F::ln2_high + (s * 2 + (s * z * p + e * F::ln2_low));
    const Vec<T> infinite = broadcast(T(INFINITY));
    const Vec<T> regular = x > T(0) ? (x < infinite ? value : x) : (x == T(0) ? -infinite : broadcast(T(NAN)));
    return x != x ? x : regular;
}

// log(1 + u) for u >= 0, corrected for the rounding of 1 + u.
template <class T> INLINE Vec<T> log1p_of(Vec<T> u) {
    const Vec<T> y = u + 1, lost = (u - (y - 1)) / y;
    return log_of<T>(y) + lost;
}

template <class T> INLINE Vec<T> sigmoid_of(Vec<T> x) {
    const Vec<T> e = exp_of<T>(-abs_of(x));  // at most 1
    return (x < T(0) ? e : broadcast(T(1))) / (e + 1);
}

// log(1 + exp(x)) without overflow.
template <class T> INLINE Vec<T> softplus_of(Vec<T> x) {
    return (T(0) > x ? Vec<T>{} : x) + log1p_of<T>(exp_of<T>(-abs_of(x)));
}

template <class T> INLINE Vec<T> tanh_of(Vec<T> x) {
    const Vec<T> limit = broadcast(T(sizeof(T) == 4 ? 10 : 22)), size = abs_of(x);
    const Vec<T> e = expm1_of<T>((size > limit ? limit : size) * 2), t = e / (e + 2);
    return x < T(0) ? -t : t;
}

// x^power for x > 0.
template <class T> INLINE Vec<T> power_of(Vec<T> x, T power) { return exp_of<T>(log_of<T>(x) * power); }

// Functions without a vectorized form, lane by lane.
template <class T, class F> INLINE Vec<T> lanewise(Vec<T> v, F f) {
    for (int i = 0; i < WIDTH<T>; ++i) v[i] = f(v[i]);
    return v;
}
// The normal distribution's probability of values up to x, and its density times sqrt(2 pi).
INLINE Vec<double> normal_of(Vec<double> x, Vec<double>& density) {
    density = exp_of<double>(x * x * -0.5);
    return lanewise<double>(x, [](double s) { return 0.5 * std::erfc(s * -0.70710678118654752440); });
}
// exp(x x / 2) times the probability of values beyond |x| is a polynomial of 1 / (1 + 0.403 |x|), fitted at
// Chebyshev points: it deviates by less than 1e-8, and rounded by less than 2e-7.
INLINE Vec<float> normal_of(Vec<float> x, Vec<float>& density) {
    constexpr float Q[] = {9.20610495e-05f, 0.156029594f, 0.202426292f, -0.0270231946f, 0.414940299f, -0.338963038f, 0.102436f, -0.009938003f};
    const Vec<float> t = 1 / (abs_of(x) * 0.403050865f + 1);
    density = exp_of<float>(x * x * -0.5f);
    Vec<float> q = broadcast(Q[7]);
#pragma GCC unroll 7
    for (int n = 6; n >= 0; --n) q = q * t + Q[n];
    const Vec<float> beyond = q * density;
    return x < 0 ? beyond : 1 - beyond;
}
template <class T> INLINE Vec<T> sin_of(Vec<T> x) {
    return lanewise<T>(x, [](T s) { return std::sin(s); });
}
template <class T> INLINE Vec<T> cos_of(Vec<T> x) {
    return lanewise<T>(x, [](T s) { return std::cos(s); });
}

}  // namespace chainrule::CHAINRULE_ISA
