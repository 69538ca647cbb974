// What is compiled for each instruction set, by name, and the arithmetic that the training loop and
// optimizers do themselves. Kernels are single-threaded.
#pragma once

#include "loss.h"
#include "operation.h"
#include "stage.h"

namespace chainrule {

template <class T> struct Library {
    virtual ~Library();
    virtual const char* name() const = 0;
    virtual long width() const = 0;  // lanes of a vector

    // Null if there is none of this name.
    virtual Operation<T>* operation(const char* name, const Record<T>&) const = 0;
    virtual Loss<T>* loss(const char* name, const Settings&) const = 0;
    virtual Stage<T>* stage(const char* name, const Settings&) const = 0;

    // As in copies.h and arithmetic.h.
    virtual void copy(long count, const T* from, T* to) const = 0;
    virtual void gather(long rows, long width, const T* const* from, T* to, long ld) const = 0;
    virtual double dot(long count, const T* x, const T* y) const = 0;
    virtual void add_scaled(long count, T factor, const T* x, T* to) const = 0;
    virtual void scale(long count, T factor, const T* from, T* to) const = 0;
    virtual double penalize(T l1, T l2, long count, const T* w, T* g) const = 0;
    virtual T take(long count, const T* from, T* to) const = 0;
    virtual T subtract(long count, T factor, const T* in, T* u, T* w) const = 0;
};

extern template struct Library<float>;
extern template struct Library<double>;

}  // namespace chainrule
