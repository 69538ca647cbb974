// BatchNorm (one lane per feature) and LayerNorm (row by row), as in layers/normalization.py.
// `unit` is the normalized input and `inverse` 1 / sqrt(variance + epsilon); backward needs both.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
void batch_norm(long rows, long columns, const T* x, T* y, T* unit, long ld, const T* scale, const T* offset,
                T* running_mean, T* running_variance, T* inverse, T momentum, T epsilon, bool training) {
    typedef Vec<T> V;
    over<T>(columns, [&](long j, auto get, auto put) {
        V mean = get(running_mean + j), variance = get(running_variance + j);
        if (training) {
            V sum = {}, squares = {};
            for (long i = 0; i < rows; ++i) sum += load(x + i * ld + j);
            const V batch_mean = sum / T(rows);
            for (long i = 0; i < rows; ++i) {
                const V d = load(x + i * ld + j) - batch_mean;
                squares += d * d;
            }
            const V batch_variance = squares / T(rows);
            const V unbiased = batch_variance * (T(rows) / T(rows > 1 ? rows - 1 : 1));
            put(running_mean + j, mean * momentum + batch_mean * (1 - momentum));
            put(running_variance + j, variance * momentum + unbiased * (1 - momentum));
            mean = batch_mean;
            variance = batch_variance;
        }
        const V by = 1 / sqrt_of(variance + epsilon), times = get(scale + j), plus = get(offset + j);
        put(inverse + j, by);
        for (long i = 0; i < rows; ++i) {
            const V here = (load(x + i * ld + j) - mean) * by;
            store(unit + i * ld + j, here);
            store(y + i * ld + j, times * here + plus);
        }
    });
}

// dx may be null.
template <class T>
void batch_norm_back(long rows, long columns, const T* dy, const T* unit, T* dx, long ld, const T* scale,
                     const T* inverse, T* dscale, T* doffset) {
    typedef Vec<T> V;
    over<T>(columns, [&](long j, auto get, auto put) {
        V sum = {}, products = {};
        for (long i = 0; i < rows; ++i) {
            const V arriving = load(dy + i * ld + j);
            sum += arriving;
            products += arriving * load(unit + i * ld + j);
        }
        put(doffset + j, sum);
        put(dscale + j, products);
        if (!dx) return;
        const V times = get(scale + j) * get(inverse + j), mean = sum / T(rows), along = products / T(rows);
        for (long i = 0; i < rows; ++i)
            store(dx + i * ld + j, times * (load(dy + i * ld + j) - mean - load(unit + i * ld + j) * along));
    });
}

template <class T>
void layer_norm(long rows, long columns, const T* x, T* y, T* unit, T* inverse, long ld, const T* scale,
                const T* offset, T epsilon) {
    typedef Vec<T> V;
    for (long i = 0; i < rows; ++i, x += ld, y += ld, unit += ld) {
        V sums = {}, squares = {};
        over<T>(columns, [&](long k, auto get, auto) { sums += get(x + k); });
        const T mean = sum_of<T>(sums) / T(columns);
        long k = 0;
        for (; k + WIDTH<T> <= columns; k += WIDTH<T>) {
            const V d = load(x + k) - mean;
            squares += d * d;
        }
        T variance = sum_of<T>(squares);
        for (; k < columns; ++k) variance += (x[k] - mean) * (x[k] - mean);
        const T by = 1 / std::sqrt(variance / T(columns) + epsilon);
        inverse[i] = by;
        over<T>(columns, [&](long k, auto get, auto put) {
            const V here = (get(x + k) - mean) * by;
            put(unit + k, here);
            put(y + k, get(scale + k) * here + get(offset + k));
        });
    }
}

template <class T>
void layer_norm_back(long rows, long columns, const T* dy, const T* unit, const T* inverse, T* dx, long ld,
                     const T* scale) {
    typedef Vec<T> V;
    for (long i = 0; i < rows; ++i, dy += ld, unit += ld, dx += ld) {
        V sums = {}, products = {};
        over<T>(columns, [&](long k, auto get, auto) {
            const V arriving = get(dy + k) * get(scale + k);
            sums += arriving;
            products += arriving * get(unit + k);
        });
        const T mean = sum_of<T>(sums) / T(columns), along = sum_of<T>(products) / T(columns);
        over<T>(columns, [&](long k, auto get, auto put) {
            put(dx + k, (get(dy + k) * get(scale + k) - mean - get(unit + k) * along) * inverse[i]);
        });
    }
}

}  // namespace chainrule::CHAINRULE_ISA
