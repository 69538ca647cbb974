// Multiply, as in layers/operators.py: the elementwise product of two values of one shape.
#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Multiply : Operation<T> {
    const Record<T>& record;
    const Value<T>&a, &b, &y;
    explicit Multiply(const Record<T>& r) : record(r), a(r.input(0)), b(r.input(1)), y(r.output()) {
        require(r.inputs() == 2 && a.rows == y.rows && a.ld == y.ld && b.rows == y.rows && b.ld == y.ld,
                "the factors have the shape of the product");
    }

    void forward(const Pass<T>& p) override { apply(p, a.value, b.value, y.value); }
    void backward(const Pass<T>& p) override {
        if (record.wants(0)) apply(p, y.gradient, b.value, a.gradient);
        if (record.wants(1)) apply(p, y.gradient, a.value, b.gradient);
    }

  private:
    void apply(const Pass<T>& p, const T* x, const T* by, T* to) const {
        const Range own = p.rows(y);
        const long at = own.from * y.ld;
        multiply(own.count() * y.ld, x + at, by + at, to + at);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(multiply, Multiply)
