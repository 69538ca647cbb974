// Products of one row: A has few numbers, and B is read once, from memory. So a few rows of B are read at a
// time, from left to right, which the processor foresees, and C stays in the L1 cache.
//
// As in a tile every entry of C is a single chain of fused multiply-adds in the order of K.
#pragma once

#include "lanes.h"
#include "product.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> INLINE bool is_row(const Product<T>& w) {
    return w.m == 1 && w.b_column == 1 && w.n > WIDTH<T> / 2 && !w.sums && !(w.samples && w.a_row == 1);
}

template <class T> void row_product(const Product<T>& w) {
    constexpr int ROWS = 8;  // of B
    const T* const a = w.samples ? w.samples[0] + w.a_from : w.a;
    const long step = w.samples ? 1 : w.a_column;
    in_pieces<ROWS>(0, w.k, [&](auto rows, long from) {
        constexpr int COUNT = decltype(rows)::value;
        const bool is_first = from == 0, is_last = from + COUNT == w.k;
        const T* const b = w.b + from * w.b_row;
        Vec<T> as[COUNT];
        for (int i = 0; i < COUNT; ++i) as[i] = broadcast(a[(from + i) * step]);
        over<T>(w.n, [&](long j, auto get, auto put) {
            Vec<T> sum = {};
            if (!is_first || w.accumulate) sum = get(w.c + j);
            else if (w.bias) sum = get(w.bias + j);
#pragma GCC unroll 8
            for (int i = 0; i < COUNT; ++i) sum += as[i] * get(b + i * w.b_row + j);
            if (is_last && w.epilogue == Epilogue::relu) sum = T(0) > sum ? Vec<T>{} : sum;
            if (is_last && w.epilogue == Epilogue::relu_slope) sum = get(w.slope_of + j) > T(0) ? sum : Vec<T>{};
            put(w.c + j, sum);
        });
    });
}

}  // namespace chainrule::CHAINRULE_ISA
