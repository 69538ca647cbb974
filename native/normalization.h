// Normalizing where a value is read (see Value::normalization in operation.h).
#pragma once

#include "operation.h"
#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

// Copies `count` rows of `width` columns, from column `first` on, normalized.
template <class T>
INLINE void normalize_rows(long count, long width, const T* from, long from_ld, const Normalization<T>& as, long first,
                           T* to, long to_ld) {
    const T *const mean = as.mean + first, *const by = as.by + first;
    const T *const times = as.times + first, *const plus = as.plus + first;
    const bool relu = as.relu;
    for (long i = 0; i < count; ++i)
        over<T>(width, [=](long j, auto get, auto put) {
            const Vec<T> out = get(times + j) * ((get(from + i * from_ld + j) - get(mean + j)) * get(by + j)) + get(plus + j);
            put(to + i * to_ld + j, relu ? Vec<T>(T(0) > out ? Vec<T>{} : out) : out);
        });
}

// The derivatives of values from those of the normalized ones, of `count` rows.
template <class T>
INLINE void back_normalize_rows(long count, long width, const T* values, const T* dy, long ld,
                                const BackNormalization<T>& back, T* to, long to_ld) {
    const Normalization<T> as = *back.forward;
    const T *const mean_dy = back.mean_dy, *const mean_along = back.mean_along;
    for (long i = 0; i < count; ++i)
        over<T>(width, [=](long j, auto get, auto put) {
            const Vec<T> times = get(as.times + j), by = get(as.by + j);
            const Vec<T> unit = (get(values + i * ld + j) - get(as.mean + j)) * by;
            Vec<T> here = get(dy + i * ld + j);
            if (as.relu) here = times * unit + get(as.plus + j) > T(0) ? here : Vec<T>{};
            put(to + i * to_ld + j, times * by * (here - get(mean_dy + j) - unit * get(mean_along + j)));
        });
}

// A single number of a value, as its readers see it.
template <class T> INLINE T value_at(const Value<T>& x, long row, long c) {
    const T here = x.value[row * x.ld + c];
    if (!x.normalization) return here;
    const Normalization<T>& as = *x.normalization;
    const T out = as.times[c] * ((here - as.mean[c]) * as.by[c]) + as.plus[c];
    return as.relu && out < T(0) ? T(0) : out;
}

// The derivative by a single number of what an operation writes, before its own ReLU if it has one.
template <class T> INLINE T derivative_at(const Value<T>& y, bool relu, long row, long c) {
    const T value = y.value[row * y.ld + c], dy = y.gradient[row * y.ld + c];
    if (!y.back) return relu && !(value > T(0)) ? T(0) : dy;
    const Normalization<T>& as = *y.back->forward;
    const T unit = (value - as.mean[c]) * as.by[c];
    const T here = as.relu && !(as.times[c] * unit + as.plus[c] > T(0)) ? T(0) : dy;
    return as.times[c] * as.by[c] * (here - y.back->mean_dy[c] - unit * y.back->mean_along[c]);
}

}  // namespace chainrule::CHAINRULE_ISA
