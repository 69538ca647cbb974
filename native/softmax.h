// Softmax and log-softmax. The forward kernel transposes blocks of rows, one row per lane, so that
// maxima and sums over a row are elementwise operations on vectors.
#pragma once

#include "functions.h"
#include "kernels.h"

namespace chainrule::CHAINRULE_ISA {

// Transposes a block of up to WIDTH rows: vector k of `to` has column k, one row per lane, padded
// with 0.
template <class T> INLINE void transpose(long rows, long width, const T* from, long ld, T* to) {
    constexpr long W = WIDTH<T>;
    for (long k = 0; k < width; ++k) {
        for (long i = 0; i < rows; ++i) to[k * W + i] = from[i * ld + k];
        for (long i = rows; i < W; ++i) to[k * W + i] = 0;
    }
}

template <class T> INLINE void transpose_back(long rows, long width, const T* from, T* to, long ld) {
    for (long k = 0; k < width; ++k)
        for (long i = 0; i < rows; ++i) to[i * ld + k] = from[k * WIDTH<T> + i];
}

// Subtracts each row's maximum from z (`width` vectors, transposed), sets e = exp(z) and returns
// the sum of e over each row.
template <class T> INLINE Vec<T> exponentials(long width, T* z, T* e) {
    constexpr long W = WIDTH<T>;
    Vec<T> top = load(z), sum = {};
    for (long k = 1; k < width; ++k) {
        const Vec<T> here = load(z + k * W);
        top = here > top ? here : (here != here ? here : top);
    }
    for (long k = 0; k < width; ++k) {
        const Vec<T> shifted = load(z + k * W) - top, power = exp_of<T>(shifted);
        store(z + k * W, shifted);
        store(e + k * W, power);
        sum += power;
    }
    return sum;
}

// scratch: room for 2 * width vectors
template <class T>
void softmax(long rows, long width, const T* z, long z_ld, T* a, long a_ld, bool logarithm, T* scratch) {
    constexpr long W = WIDTH<T>;
    T *transposed = scratch, *e = scratch + width * W;
    for (long row = 0; row < rows; row += W) {
        const long here = rows - row < W ? rows - row : W;
        transpose(here, width, z + row * z_ld, z_ld, transposed);
        const Vec<T> sum = exponentials(width, transposed, e), subtract = log_of<T>(sum), times = 1 / sum;
        for (long k = 0; k < width; ++k)
            store(transposed + k * W, logarithm ? load(transposed + k * W) - subtract : load(e + k * W) * times);
        transpose_back(here, width, transposed, a + row * a_ld, a_ld);
    }
}

template <class T> void softmax_back(long rows, long width, const T* a, const T* da, T* dz, long ld, bool logarithm) {
    for (long row = 0; row < rows; ++row, a += ld, da += ld, dz += ld) {
        Vec<T> lanes = {};
        over<T>(width, [&](long k, auto get, auto) {
            lanes += logarithm ? get(da + k) : get(a + k) * get(da + k);
        });
        const Vec<T> sum = broadcast(sum_of<T>(lanes));
        over<T>(width, [&](long k, auto get, auto put) {
            const Vec<T> out = get(a + k), arriving = get(da + k);
            put(dz + k, logarithm ? arriving - exp_of<T>(out) * sum : out * (arriving - sum));
        });
    }
}

}  // namespace chainrule::CHAINRULE_ISA
