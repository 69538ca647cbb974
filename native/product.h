// Matrix products, in product.cpp.
#pragma once

#include "operation.h"

#if defined(CHAINRULE_ISA)
#include "vector.h"
#endif

namespace chainrule {

// What is done to a finished entry of C, before it is stored.
enum class Epilogue { nothing, relu, relu_slope, slope };

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
    // For relu_slope: the ReLU's output, whose slope multiplies C; for slope: the slopes. Laid out like C.
    const T* slope_of = nullptr;
    bool whole = true;            // whether C's rows are padded to whole vectors
    T* pack = nullptr;            // scratch: room for PACK numbers
    // If not null: receives the column sums of B; A must then be stored by columns.
    T* sums = nullptr;
    const T* const* samples = nullptr;
    long a_from = 0;
    bool accumulate = false;      // whether it is added to C
};
constexpr long PACK = 512 * 32;

template <class T> struct Matrix {
    long rows, columns;
    const T* at;
    long row, column;  // from one to the next
};

// C = A B plus a bias for each column, where the rows of A are patches, read in place: of base, from
// starts[i] on, the segments of `length` numbers that begin at segments[0], segments[segment_step]
// and so on.
template <class T> struct PatchProduct {
    long m, n;
    const T* base;
    const int64_t *starts, *segments;
    long segment_count, length, segment_step;
    const T* panels;  // B, by pack_panels
    T* c;
    long c_row;
    const T* bias = nullptr;
    Epilogue epilogue = Epilogue::nothing;
};

#if defined(CHAINRULE_ISA)
namespace CHAINRULE_ISA {

void product(const Product<float>&);
void product(const Product<double>&);
void patch_product(const PatchProduct<float>&);
void patch_product(const PatchProduct<double>&);

// Copies a matrix in panels of two vectors of columns (the last may have one), each with all its
// rows; or rows from `first` on of a matrix with `depth` rows.
void pack_panels(const Matrix<float>&, float* to, long depth, long first);
void pack_panels(const Matrix<double>&, double* to, long depth, long first);
template <class T> INLINE void pack_panels(const Matrix<T>& matrix, T* to) { pack_panels(matrix, to, matrix.rows, 0); }
// How many numbers these take.
template <class T> INLINE long panels(long rows, long columns) {
    return (columns + WIDTH<T> - 1) / WIDTH<T> * WIDTH<T> * rows;
}

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
