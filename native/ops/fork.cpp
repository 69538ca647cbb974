// Adds up the gradients of a value's readers, which share its memory.
#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Fork : Operation<T> {
    const Record<T>& record;
    const Value<T>& x;
    bool wants_input;
    explicit Fork(const Record<T>& r) : record(r), x(r.input()), wants_input(r.wants()) {
        require(r.outputs() > 0, "a fork needs readers");
    }

    bool shares_value() const override { return true; }
    void forward(const Pass<T>&) override {}
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        copy(count, record.output(0).gradient + at, x.gradient + at);
        for (long k = 1; k < record.outputs(); ++k) add(count, record.output(k).gradient + at, x.gradient + at);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(fork, Fork)
