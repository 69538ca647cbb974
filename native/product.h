// Matrix products, in product.cpp.
#pragma once

#include "operation.h"

namespace chainrule {

// What is done to a finished entry of C, before it is stored.
enum class Epilogue { nothing, relu, relu_slope };

// C = A B plus a bias for each column; A[i, p] = a[i * a_row + p * a_column], B[p, j] likewise.
// With `samples` A is read from the samples in place: A[i, p] = samples[i][p + a_from], or, if
// a_row is 1, samples[p][i + a_from].
template <class T> struct Product {
    long m, n, k;
    const T* a;
    long a_row, a_column;
    const T* b;
    long b_row, b_column;
    T* c;
    long c_row;
    const T* bias = nullptr;
    Epilogue epilogue = Epilogue::nothing;
    // For relu_slope: the ReLU's output, whose slope multiplies C; laid out like C.
    const T* slope_of = nullptr;
    bool whole = true;            // whether C's rows are padded to whole vectors
    T* pack = nullptr;            // scratch: room for PACK numbers
    // If not null: receives the column sums of B; A must then be stored by columns.
    T* sums = nullptr;
    const T* const* samples = nullptr;
    long a_from = 0;
};
constexpr long PACK = 512 * 32;

#if defined(CHAINRULE_ISA)
namespace CHAINRULE_ISA {

void product(const Product<float>&);
void product(const Product<double>&);

// Computes thread t's share of a product with its own scratch: along C's columns if there are
// enough, otherwise along its rows. With `prefer_rows` it is divided along the rows if possible:
// for a weight's gradient, because the optimizer's step is divided that way, too, and each core
// then finds its share in its own cache.
void shared_product(int t, int threads, float* pack, Product<float>&, bool prefer_rows = false);
void shared_product(int t, int threads, double* pack, Product<double>&, bool prefer_rows = false);
template <class T> INLINE void shared_product(const Pass<T>& p, Product<T>& work, bool prefer_rows = false) {
    shared_product(p.t, p.threads, p.pack, work, prefer_rows);
}

}  // namespace CHAINRULE_ISA
#endif
}  // namespace chainrule
