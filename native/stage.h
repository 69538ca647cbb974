// An optimizer's stage, as the files in stages/ define them: it turns the gradient, or what the
// stage before it gave, into its output. The output of the last stage is subtracted from the
// weights.
//
// Every thread has stages of its own, which share the state that they are lent, so a stage keeps the
// constants of a step in its members. The files are compiled without fused multiply-adds: as in
// descent/stages.py and descent/adaptive.py, in the same order, the same operations give the same
// bits.
#pragma once

#include <cstdint>

#include "settings.h"
#include "share.h"

namespace chainrule {

// The state that a stage must be lent: vectors with a number for each parameter, a count of its
// steps, a scale.
struct Needs {
    int vectors;
    bool count, scale;
};

// A point on the search line: the step length, the loss and its slope along the line.
struct Trial {
    double step, value, slope;
};

// The whole gradient, as one thread sees it, for a stage that needs it.
template <class T> struct WholeGradient {
    virtual ~WholeGradient();
    long size;
    const T* w;
    T* g;  // the stage's input, which it may overwrite
    int t, threads;
    virtual long arrays() const = 0;
    virtual bool applies(long array) const = 0;  // whether the stage applies to an array
    virtual Range place(long array) const = 0;
    virtual long columns(long array) const = 0;  // of a matrix; 0 for an array that is none
    // The sums of the squares of an array's g and w, and of all that the stage applies to.
    virtual double g_squares(long array) const = 0;
    virtual double w_squares(long array) const = 0;
    virtual double all_squares() const = 0;
    // By what the output is multiplied, on the first thread only; 1 at first.
    virtual void multiply(long array, T factor) = 0;
    virtual T* scratch(int slot, long count) const = 0;  // for all threads; see Stage::scratch
    virtual T* pack() const = 0;                         // of this thread, for matrix products
    virtual void wait() const = 0;                       // for the other threads
    // For a line search: the loss and slope at w - step * g, and where the step begins.
    virtual Trial along(double step) = 0;
    virtual Trial start() = 0;
};

template <class T> struct Stage {
    virtual ~Stage();
    // Lent for a run.
    T* state[4] = {};
    int64_t* count = nullptr;
    double* scale = nullptr;

    virtual Needs needs() const { return {0, false, false}; }
    virtual long rows(int /*vector*/) const { return 1; }  // of a vector of its state
    // Sets the constants of this step.
    virtual void begin() {}
    // u = the output for `in`, which may be u itself, and weights w; all begin at parameter `from`.
    virtual void apply(long from, long n, const T* in, T* u, const T* w) const = 0;
    // w -= factor * output; returns 0, or NaN if a new weight is not finite.
    virtual T subtract(long from, long n, T factor, const T* in, T* w) const = 0;
    // Counts the step; false if this stage has ended it (see ends_step).
    virtual bool end() {
        if (count) ++*count;
        return true;
    }

    // The factor, if the stage does nothing but multiply by one.
    virtual const T* factor() const { return nullptr; }
    // Whether the weights are not changed in this step.
    virtual bool ends_step() const { return false; }
    // Whether a gradient that is not finite always makes the output not finite.
    virtual bool propagates_nonfinite() const { return true; }

    // Whether it needs whole arrays or the whole gradient: then `apply_to_whole` takes the place of
    // `apply` and `subtract`, called by all threads together.
    virtual bool is_whole() const { return false; }
    virtual void apply_to_whole(WholeGradient<T>&) const {}
    virtual bool is_by_array() const { return false; }  // whether it needs each array on its own
    virtual bool multiplies() const { return false; }  // whether all it does is multiply each by a factor
    // Whether it reads the squares of the weights' arrays, or searches along a line.
    virtual bool uses_w_squares() const { return false; }
    virtual bool searches() const { return false; }
    // Numbers of scratch in each slot, for matrices of up to `numbers` entries whose shorter side
    // is at most `shorter`.
    virtual long scratch(int /*slot*/, long /*numbers*/, long /*shorter*/) const { return 0; }
};
constexpr int SLOTS = 3;

extern template struct WholeGradient<float>;
extern template struct WholeGradient<double>;
extern template struct Stage<float>;
extern template struct Stage<double>;

}  // namespace chainrule

#define REGISTER_STAGE(name, Class)                                                          \
    namespace chainrule::CHAINRULE_ISA {                                                     \
    Stage<float>* stage_##name(const Settings& s, float) { return new Class<float>(s); }    \
    Stage<double>* stage_##name(const Settings& s, double) { return new Class<double>(s); } \
    }
