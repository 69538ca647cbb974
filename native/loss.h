// A loss, as the files in losses/ define them.
#pragma once

#include "settings.h"
#include "share.h"

namespace chainrule {

// The predictions and targets of some samples of a mini-batch.
template <class T> struct LossBatch {
    long samples, outputs, target_width;
    bool classes;    // the target is a class index, not a number for each output
    const T* z;      // predictions
    long z_ld;
    const T* target;
    const T* weight; // of each sample, or null
    T whole;         // the number of samples in the mini-batch
    T* dz;           // receives the derivatives of the mean loss with respect to z
    long dz_ld;
    double* losses;  // receives the loss of each sample
    T* scratch;      // (3 * outputs + 2 * target_width + 4) vectors
};

template <class T> struct Loss {
    virtual ~Loss();
    // False if a class index is out of range.
    virtual bool compute(const LossBatch<T>&) const = 0;
    // Throws std::invalid_argument unless such targets fit.
    virtual void check(long outputs, long target_width, bool classes) const {
        require(target_width == (classes ? 1 : outputs), "the target does not fit the loss");
    }
};

extern template struct Loss<float>;
extern template struct Loss<double>;

}  // namespace chainrule

#define REGISTER_LOSS(name, Class)                                                          \
    namespace chainrule::CHAINRULE_ISA {                                                    \
    Loss<float>* loss_##name(const Settings& s, float) { return new Class<float>(s); }     \
    Loss<double>* loss_##name(const Settings& s, double) { return new Class<double>(s); }  \
    }
