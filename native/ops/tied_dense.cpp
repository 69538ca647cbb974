// TiedDense, as in layers/dense.py: y = x W', with the matrix W of an Embedding before it, which adds to
// W's gradient.
#include "../product.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct TiedDense : Operation<T> {
    const Value<T>&x, &y;
    long W;
    bool wants_input;
    explicit TiedDense(const Record<T>& r)
        : x(r.input()), y(r.output()), W(r.parameter("W", y.width * x.width)), wants_input(r.wants()) {
        require(x.rows == y.rows, "a TiedDense needs as many rows of outputs as of inputs");
    }

    void forward(const Pass<T>& p) override {
        Product<T> work{p.samples * x.rows, y.width, x.width, x.value, x.ld, 1, p.w + W, 1, x.width, y.value, y.ld};
        work.whole = !y.is_packed();
        shared_product(p, work);
    }
    void backward(const Pass<T>& p) override {
        derive_inputs(p);
        derive_parameters(p);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const long out = (at - W) / x.width, in = (at - W) % x.width;
        for (long row = 0; row < p.samples * x.rows; ++row)
            to[row / x.rows] += double(y.gradient[row * y.ld + out]) * x.value[row * x.ld + in];
    }
    void derive_inputs(const Pass<T>& p) {
        if (!wants_input) return;
        Product<T> dx{p.samples * x.rows, x.width, y.width, y.gradient, y.ld, 1, p.w + W, x.width, 1, x.gradient, x.ld};
        dx.whole = !x.is_packed();
        shared_product(p, dx);
    }
    void derive_parameters(const Pass<T>& p) {
        Product<T> dw{y.width, x.width, p.samples * x.rows, y.gradient, 1, y.ld, x.value, x.ld, 1, p.g + W, x.width};
        dw.whole = false;
        shared_product(p, dw, true);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(tied_dense, TiedDense)
