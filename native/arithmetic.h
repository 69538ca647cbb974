// Sums and steps over vectors, for optimizers: compiled without fused multiply-adds.
#pragma once

#include <cmath>

#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

// Long sums are accumulated in float64 in eight partial sums, in the same order on every processor.
template <class T, class Of> INLINE double summed(long count, Of of) {
    double sums[8] = {};
    long k = 0;
    for (; k + 8 <= count; k += 8)
        for (int i = 0; i < 8; ++i) sums[i] += of(k + i);
    for (; k < count; ++k) sums[0] += of(k);
    return ((sums[0] + sums[1]) + (sums[2] + sums[3])) + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
}

template <class T> double dot(long count, const T* x, const T* y) {
    return summed<T>(count, [=](long k) { return double(x[k]) * double(y[k]); });
}

// to += factor * x
template <class T> void add_scaled(long count, T factor, const T* x, T* to) {
    over<T>(count, [=](long k, auto get, auto put) { put(to + k, get(to + k) + get(x + k) * factor); });
}

// to = factor * from
template <class T> void scale(long count, T factor, const T* from, T* to) {
    over<T>(count, [=](long k, auto get, auto put) { put(to + k, get(from + k) * factor); });
}

// The value of a penalty, whose derivative is added to g.
template <class T> double penalize(T l1, T l2, long count, const T* w, T* g) {
    const double sizes = summed<T>(count, [=](long k) { return std::fabs(double(w[k])); });
    const double squares = summed<T>(count, [=](long k) { return double(w[k]) * double(w[k]); });
    over<T>(count, [=](long k, auto get, auto put) {
        const Vec<T> here = get(w + k);
        put(g + k, get(g + k) + (sign_of(here) * l1 + here * l2));
    });
    return double(l1) * sizes + double(l2) / 2 * squares;
}

// to = from, u = factor * in and w -= u: they return 0, or NaN if a number that was written is not
// finite (infinity and NaN times 0 are NaN).
template <class T> T take(long count, const T* from, T* to) {
    Vec<T> check = {};
    over<T>(count, [&](long k, auto get, auto put) {
        const Vec<T> here = get(from + k);
        put(to + k, here);
        check += here * T(0);
    });
    return sum_of<T>(check);
}
template <class T> T subtract(long count, T factor, const T* in, T* u, T* w) {
    Vec<T> check = {};
    over<T>(count, [&](long k, auto get, auto put) {
        const Vec<T> step = get(in + k) * factor, next = get(w + k) - step;
        put(u + k, step);
        put(w + k, next);
        check += next * T(0);
    });
    return sum_of<T>(check);
}

}  // namespace chainrule::CHAINRULE_ISA
