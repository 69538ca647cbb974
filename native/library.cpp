// The library of one instruction set: this file is compiled once for each, with its flags.
#include "library.h"

#include <cstring>

#include "arithmetic.h"
#include "copies.h"

#define STRINGIFY_TOKEN(x) #x
#define STRINGIFY(x) STRINGIFY_TOKEN(x)

namespace chainrule::CHAINRULE_ISA {

// What CMake has found in ops/, losses/ and stages/.
#define OP(name)                                              \
    Operation<float>* operation_##name(const Record<float>&); \
    Operation<double>* operation_##name(const Record<double>&);
#define LOSS(name)                                  \
    Loss<float>* loss_##name(const Settings&, float); \
    Loss<double>* loss_##name(const Settings&, double);
#define STAGE(name)                                   \
    Stage<float>* stage_##name(const Settings&, float); \
    Stage<double>* stage_##name(const Settings&, double);
#include "losses.inc"
#include "ops.inc"
#include "stages.inc"
#undef OP
#undef LOSS
#undef STAGE

template <class T> struct Compiled final : Library<T> {
    const char* name() const override { return STRINGIFY(CHAINRULE_ISA); }
    long width() const override { return WIDTH<T>; }

    Operation<T>* operation(const char* name, const Record<T>& record) const override {
#define OP(own) \
    if (!std::strcmp(name, #own)) return operation_##own(record);
#include "ops.inc"
        return nullptr;
    }
    Loss<T>* loss(const char* name, const Settings& settings) const override {
#define LOSS(own) \
    if (!std::strcmp(name, #own)) return loss_##own(settings, T());
#include "losses.inc"
        return nullptr;
    }
    Stage<T>* stage(const char* name, const Settings& settings) const override {
#define STAGE(own) \
    if (!std::strcmp(name, #own)) return stage_##own(settings, T());
#include "stages.inc"
        return nullptr;
    }

    void copy(long count, const T* from, T* to) const override { CHAINRULE_ISA::copy(count, from, to); }
    void gather(long rows, long width, const T* const* from, T* to, long ld) const override {
        CHAINRULE_ISA::gather(rows, width, from, to, ld);
    }
    double dot(long count, const T* x, const T* y) const override { return CHAINRULE_ISA::dot(count, x, y); }
    void add_scaled(long count, T factor, const T* x, T* to) const override {
        CHAINRULE_ISA::add_scaled(count, factor, x, to);
    }
    void scale(long count, T factor, const T* from, T* to) const override {
        CHAINRULE_ISA::scale(count, factor, from, to);
    }
    double penalize(T l1, T l2, long count, const T* w, T* g) const override {
        return CHAINRULE_ISA::penalize(l1, l2, count, w, g);
    }
    T take(long count, const T* from, T* to) const override { return CHAINRULE_ISA::take(count, from, to); }
    T subtract(long count, T factor, const T* in, T* u, T* w) const override {
        return CHAINRULE_ISA::subtract(count, factor, in, u, w);
    }
};

Library<float>* library(float) { return new Compiled<float>; }
Library<double>* library(double) { return new Compiled<double>; }

}  // namespace chainrule::CHAINRULE_ISA
