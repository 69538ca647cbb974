// What stages share that need whole arrays.
#pragma once

#include "../stage.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct WholeStage : Stage<T> {
    bool is_whole() const override { return true; }
    bool propagates_nonfinite() const override { return false; }
    void apply(long, long, const T*, T*, const T*) const override {}
    T subtract(long, long, T, const T*, T*) const override { return 0; }
};

}  // namespace chainrule::CHAINRULE_ISA
