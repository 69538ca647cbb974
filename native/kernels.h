// What the kernels offer, whatever processor they were compiled for: a table of functions for each precision.
//
// A kernel works on one thread; who calls it divides the work by rows, columns or ranges. Matrices are stored by rows,
// and each row of an activation has room for whole vectors ("ld" numbers from one row to the next); a kernel may fill
// the room behind a row's numbers with anything.
#pragma once

#include <cstdint>

namespace chainrule {

constexpr long MOST_LANES = 16;
constexpr long ROOM = 64;  // numbers that may be read, never used, behind the end of every array

enum class After { nothing, relu, relu_slope };

// C = A B, row by row, plus a bias; A[i, p] = a[i * a_row + p * a_column], B[p, j] likewise. With `samples` A's numbers
// lie where the samples do: A[i, p] = samples[i][p + a_from], or, where a_row is 1, samples[p][i + a_from].
template <class T> struct Product {
    long m, n, k;
    const T* a;
    long a_row, a_column;
    const T* b;
    long b_row, b_column;
    T* c;
    long c_row;
    const T* bias = nullptr;
    After after = After::nothing;
    const T* slope_of = nullptr;  // for relu_slope: the activation whose slope multiplies C, laid out like C
    bool whole = true;            // whether C's rows have room for whole vectors
    T* pack = nullptr;            // scratch: PACK numbers
    T* sums = nullptr;            // if wanted, the sums of B's columns; A's rows lie side by side then
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
    squared, half_squares, absolute, huber, log_cosh, quantile, poisson, gaussian, cosine
};

template <class T> struct LossWork {
    LossKind kind;
    T number;                // smoothing, focus, delta or level
    const T* class_weights;  // or none
    long outputs, target_width;
    bool classes;            // the target has class numbers, not a number for each output
    const T* z;              // predictions
    long z_ld;
    const T* target;
    const T* weight;         // of the samples, or none
    T batch;                 // the samples that the mean is taken over
    T* dz;
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
    T n[8] = {};                  // the numbers of its formula
    T* state[3] = {};             // its memory
};

template <class T> struct Kernels {
    const char* name;
    long width;  // lanes of a vector

    // dense.h
    void (*product)(const Product<T>&);
    // sums over rows [0, rows) of columns [0, columns) of x (times y, if there is one)
    void (*column_sums)(long rows, long columns, const T* x, const T* y, long ld, T* sums);

    // activations.h: `count` numbers
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
    void (*keep_mask)(uint64_t key0, uint64_t key1, uint64_t step, uint32_t threshold, T kept, long start, long count,
                      T* mask);
    // embedding.h: false if an index is none of 0 to count - 1
    bool (*embedding)(long rows, long first, long units, long count, const T* x, long x_ld, long per_row, const T* w,
                      long w_ld, T* y, long y_ld);
    void (*embedding_back)(long rows, long first, long units, const T* x, long x_ld, long per_row, const T* dy,
                           long dy_ld, T* dw, long w_ld);

    // shaping.h: to = from, to += from, to = x * y, over `count` numbers; unaligned and without room behind
    void (*copy)(long count, const T* from, T* to);
    void (*gather)(long rows, long width, const T* const* from, T* to, long ld);
    void (*add)(long count, const T* from, T* to);
    void (*multiply)(long count, const T* x, const T* y, T* to);

    // losses.h: false if a class number is out of range
    bool (*loss)(const LossWork<T>&, long samples);

    // stages.h: u becomes what the stage makes of `in`, which may be u itself
    void (*stage)(const StageWork<T>&, long count, const T* in, T* u, const T* w);
    // the same, and then w -= u * factor
    T (*stage_and_subtract)(const StageWork<T>&, long count, T factor, const T* in, T* w);
    double (*penalty_value)(T l1, T l2, long count, const T* w);
    double (*dot)(long count, const T* x, const T* y);
    void (*add_times)(long count, T factor, const T* x, T* to);  // to += factor * x
    // to = from; and u = in * factor, w -= u: they give 0, or NaN if a number that they wrote is not finite
    T (*take)(long count, const T* from, T* to);
    T (*subtract)(long count, T factor, const T* in, T* u, T* w);
};

}  // namespace chainrule
