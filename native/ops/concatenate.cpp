// Concatenate, as in layers/operators.py: values side by side, along the last axis.
#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Concatenate : Operation<T> {
    const Record<T>& record;
    const Value<T>& y;
    explicit Concatenate(const Record<T>& r) : record(r), y(r.output()) {
        long width = 0;
        for (long k = 0; k < r.inputs(); ++k) {
            require(r.input(k).rows == y.rows, "concatenated values have equally many rows");
            width += r.input(k).width;
        }
        require(width == y.width, "concatenated values fill the output");
    }

    void forward(const Pass<T>& p) override {
        const Range r = p.rows(y);
        long at = 0;
        for (long k = 0; k < record.inputs(); ++k) {
            const Value<T>& x = record.input(k);
            for (long i = r.from; i < r.to; ++i) copy(x.width, x.value + i * x.ld, y.value + i * y.ld + at);
            at += x.width;
        }
    }
    void backward(const Pass<T>& p) override {
        const Range r = p.rows(y);
        long at = 0;
        for (long k = 0; k < record.inputs(); ++k) {
            const Value<T>& x = record.input(k);
            for (long i = r.from; record.wants(k) && i < r.to; ++i)
                copy(x.width, y.gradient + i * y.ld + at, x.gradient + i * x.ld);
            at += x.width;
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(concatenate, Concatenate)
