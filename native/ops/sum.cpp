// Add, as in layers/operators.py: the sum of values of one shape, which share its gradient.
#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Sum : Operation<T> {
    const Record<T>& record;
    const Value<T>& y;
    explicit Sum(const Record<T>& r) : record(r), y(r.output()) {
        for (long k = 0; k < r.inputs(); ++k)
            require(r.input(k).rows == y.rows && r.input(k).ld == y.ld, "the terms of a sum have its shape");
    }

    bool shares_gradient() const override { return true; }
    void forward(const Pass<T>& p) override {
        const Range r = p.rows(y);
        const long at = r.from * y.ld, count = r.count() * y.ld;
        copy(count, record.input(0).value + at, y.value + at);
        for (long k = 1; k < record.inputs(); ++k) add(count, record.input(k).value + at, y.value + at);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(sum, Sum)
