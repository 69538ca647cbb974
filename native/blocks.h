// Blocks of rows, transposed: one row per lane, so that maxima and sums over a row are elementwise
// operations on vectors. For softmax and losses.
#pragma once

#include "functions.h"

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

}  // namespace chainrule::CHAINRULE_ISA
