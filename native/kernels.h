// The kernels' interface, the same for every instruction set: a table of functions for each
// precision.
//
// Kernels are single-threaded; callers divide the work by rows, columns or ranges. Matrices are
// stored in row-major order, and the rows of activations are padded to whole vectors ("ld" is the
// distance between rows); kernels may overwrite the padding.
#pragma once

#include <cstdint>

namespace chainrule {

constexpr long MAX_LANES = 16;
// Readable numbers past the end of every array, whose values are never used.
constexpr long PADDING = 64;

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

enum class Activation : int {
    relu, leaky_relu, elu, selu, gelu, gelu_tanh, silu, mish, hard_swish, softplus, sigmoid, tanh, softsign,
    hard_sigmoid, hard_tanh, sine, step
};

enum class LossKind : int {
    categorical, binary, focal, hinge, squared_hinge, kullback_leibler,
    squared, half_squares, absolute, huber, log_cosh, quantile, poisson, gaussian, cosine,
    quantiles, ordinal
};

template <class T> struct LossWork {
    LossKind kind;
    T number;                // the hyperparameter: smoothing, focus, delta, level, ln floor or base
    const T* numbers;        // class weights, or the levels of quantiles; or null
    long outputs, target_width;
    bool classes;            // the target is a class index, not a number for each output
    const T* z;              // predictions
    long z_ld;
    const T* target;
    const T* weight;         // of each sample, or null
    T batch;                 // the number of samples in the mini-batch
    T* dz;                   // derivatives of the mean loss with respect to z
    long dz_ld;
    double* losses;          // of each sample
    T* scratch;              // (3 * outputs + 2 * target_width + 4) vectors
};

enum class StageKind : int {
    penalty, scale, decay, clip_value, accumulate, average, momentum, nesterov,
    adagrad, adadelta, rms, rprop, adam, amsgrad, nadam, radam_early, adamax, lion, muon
};

template <class T> struct StageWork {
    StageKind kind;
    T n[8] = {};       // the constants of its formula
    T* state[3] = {};  // its state
};

template <class T> struct Kernels {
    const char* name;
    long width;  // lanes of a vector

    // dense.h
    void (*product)(const Product<T>&);
    // column sums of x, or of x * y (elementwise) if y is not null
    void (*column_sums)(long rows, long columns, const T* x, const T* y, long ld, T* sums);

    // activations.h: elementwise over `count` numbers
    void (*activate)(Activation, T number, long count, const T* z, T* a);
    void (*activate_back)(Activation, T number, long count, const T* z, const T* a, const T* da, T* dz);
    void (*prelu)(long rows, long columns, const T* z, const T* alpha, T* a, long ld);
    void (*prelu_back)(long rows, long columns, const T* z, const T* alpha, const T* da, T* dz, T* dalpha, long ld);

    // softmax.h
    void (*softmax)(long rows, long width, const T* z, long z_ld, T* a, long a_ld, bool logarithm, T* scratch);
    void (*softmax_back)(long rows, long width, const T* a, const T* da, T* dz, long ld, bool logarithm);

    // normalization.h
    void (*batch_norm)(long rows, long columns, const T* x, T* y, T* unit, long ld, const T* scale, const T* offset,
                       T* running_mean, T* running_variance, T* inverse, T momentum, T epsilon, bool training);
    void (*batch_norm_back)(long rows, long columns, const T* dy, const T* unit, T* dx, long ld, const T* scale,
                            const T* inverse, T* dscale, T* doffset);
    void (*layer_norm)(long rows, long columns, const T* x, T* y, T* unit, T* inverse, long ld, const T* scale,
                       const T* offset, T epsilon);
    void (*layer_norm_back)(long rows, long columns, const T* dy, const T* unit, const T* inverse, T* dx, long ld,
                            const T* scale);

    // dropout.h
    void (*keep_mask)(uint64_t key0, uint64_t key1, uint64_t step, uint32_t threshold, T keep_scale, long start,
                      long count, T* mask);
    // embedding.h: false if an index is not a whole number from 0 to count - 1
    bool (*embedding)(long rows, long first, long units, long count, const T* x, long x_ld, long per_row, const T* w,
                      long w_ld, T* y, long y_ld);
    void (*embedding_back)(long rows, long first, long units, const T* x, long x_ld, long per_row, const T* dy,
                           long dy_ld, T* dw, long w_ld);

    // expand.h
    void (*expand)(long rows, long count, const int64_t* on, long units, const T* x, long x_ld, const T* w, const T* b,
                   T* y, long y_ld);
    void (*expand_back)(long rows, long from, long to, const int64_t* on, long units, const T* x, long x_ld,
                        const T* dy, long dy_ld, T* dw, T* db);
    void (*expand_input)(long rows, long count, const int64_t* on, long units, const T* w, const T* dy, long dy_ld,
                         T* dx, long dx_ld);

    // shaping.h: to = from, to += from, to = x * y, over `count` numbers; unaligned and without
    // padding
    void (*copy)(long count, const T* from, T* to);
    void (*gather)(long rows, long width, const T* const* from, T* to, long ld);
    void (*add)(long count, const T* from, T* to);
    void (*multiply)(long count, const T* x, const T* y, T* to);

    // losses.h: false if a class index is out of range
    bool (*loss)(const LossWork<T>&, long samples);

    // stages.h: u = the stage's output for `in`, which may be u itself
    void (*stage)(const StageWork<T>&, long count, const T* in, T* u, const T* w);
    // w -= factor * output; like `take` and `subtract` it returns 0, or NaN if a number that it
    // wrote is not finite
    T (*stage_and_subtract)(const StageWork<T>&, long count, T factor, const T* in, T* w);
    double (*penalty_value)(T l1, T l2, long count, const T* w);
    double (*dot)(long count, const T* x, const T* y);
    void (*add_scaled)(long count, T factor, const T* x, T* to);  // to += factor * x
    // to = from
    T (*take)(long count, const T* from, T* to);
    // u = factor * in, w -= u
    T (*subtract)(long count, T factor, const T* in, T* u, T* w);
};

}  // namespace chainrule
