// The kernels' interface, the same for every instruction set: a table of functions for each
// precision.
//
// Kernels are single-threaded; callers divide the work by rows, columns or ranges. Matrices are
// stored in row-major order, and the rows of activations are padded to whole vectors ("ld" is the
// distance between rows); kernels may overwrite the padding.
#pragma once

#include <cstdint>

#include "product.h"

namespace chainrule {

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

    void (*product)(const Product<T>&);

    Operation<T>* (*operation)(const char* name, const Record<T>&);  // null if there is none of this name

    void (*copy)(long count, const T* from, T* to);
    void (*gather)(long rows, long width, const T* const* from, T* to, long ld);

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
