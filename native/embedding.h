// Embedding: rows of W by number; sample after sample, so that gradients of the same row are added in their order.
#pragma once

#include "kernels.h"
#include "vector.h"

namespace chainrule::CHAINRULE_ISA {

// x has `per_row` numbers in each of its rows; y has a row for each of them. Columns [0, units) of W and y.
template <class T>
bool embedding(long rows, long first, long units, long count, const T* x, long x_ld, long per_row, const T* w, long w_ld,
               T* y, long y_ld) {
    bool known = true;
    for (long i = first; i < first + rows; ++i)
        for (long k = 0; k < per_row; ++k) {
            const T number = x[i * x_ld + k];
            const bool is_row = number >= 0 && number < T(count) && number == T(long(number));
            known &= is_row;
            std::memcpy(y + (i * per_row + k) * y_ld, w + (is_row ? long(number) : 0) * w_ld, units * sizeof(T));
        }
    return known;
}

template <class T>
void embedding_back(long rows, long first, long units, const T* x, long x_ld, long per_row, const T* dy, long dy_ld,
                    T* dw, long w_ld) {
    for (long i = first; i < first + rows; ++i)
        for (long k = 0; k < per_row; ++k) {
            T* to = dw + long(x[i * x_ld + k]) * w_ld;
            const T* from = dy + (i * per_row + k) * dy_ld;
            over<T>(units, [&](long j, auto get, auto put) { put(to + j, get(to + j) + get(from + j)); });
        }
}

}  // namespace chainrule::CHAINRULE_ISA
