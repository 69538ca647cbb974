// Dense, as in layers/dense.py: y = x W + b, or ReLU of that.
//
// Settings: relu: whether a ReLU is fused; slope: whether x is the output of a fused ReLU, whose
// slope multiplies x's gradient. The slopes of an activation before it (see Value::slopes) do, too.
#include "../product.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Dense : Operation<T> {
    const Value<T>&x, &y;
    long W, b;  // b < 0: no bias
    bool relu, slope, wants_input;
    explicit Dense(const Record<T>& r)
        : x(r.input()), y(r.output()), W(r.parameter("W", x.width * y.width)),
          b(r.has_parameter("b") ? r.parameter("b", y.width) : -1), relu(r.flag("relu")), slope(r.flag("slope")),
          wants_input(r.wants()) {
        require(x.rows == y.rows, "a Dense needs as many rows of outputs as of inputs");
        require(!x.slopes || (wants_input && !slope && x.slopes->ld == x.ld), "slopes have the shape of the derivatives");
    }

    bool can_read_samples() const override { return x.is_input && x.rows == 1; }
    // Of a large W the gradient can be finished in parts, for a thread's share of the inputs.
    long in_parts(int threads) const override {
        return x.width >= 32 * threads && y.width > 1 && y.width <= PART / 32 ? W : -1;
    }

    // Otherwise a thread reads some columns of W only.

    void forward(const Pass<T>& p) override {
        Product<T> work{p.samples * x.rows, y.width, x.width, x.value, x.ld, 1, p.w + W, y.width, 1, y.value, y.ld};
        work.bias = b < 0 ? nullptr : p.w + b;
        work.epilogue = relu ? Epilogue::relu : Epilogue::nothing;
        work.whole = !y.is_packed();
        work.samples = samples(p);
        shared_product(p, work);
    }
    void backward(const Pass<T>& p) override {
        const bool parts = p.sink && in_parts(p.threads) >= 0;
        if (parts && wants_input) {  // divided by inputs: a thread's derivatives read the same rows of W that it then steps
            const Range own = inputs(p);
            if (own.count()) product(product_for_x(p, own.from, own.to));
        } else derive_inputs(p);
        derive_parameters(p);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long place, double* to) const override {
        const bool of_W = W <= place && place < W + x.width * y.width;
        const long in = of_W ? (place - W) / y.width : 0, out = of_W ? (place - W) % y.width : place - b;
        const T* const* const rows = samples(p);
        for (long k = 0; k < p.samples * x.rows; ++k) {
            const double dy = y.gradient[k * y.ld + out];
            to[k / x.rows] += of_W ? dy * (rows ? rows[k][in] : x.value[k * x.ld + in]) : dy;
        }
    }
    void derive_inputs(const Pass<T>& p) {
        if (!wants_input) return;
        Product<T> dx = product_for_x(p, 0, x.width);
        shared_product(p, dx);
    }
    void derive_parameters(const Pass<T>& p) {
        if (p.sink && in_parts(p.threads) >= 0) return derive_parts(p);
        Product<T> dw = product_for_W(p, 0, x.width, p.g + W);
        if (b >= 0) dw.sums = p.g + b;
        shared_product(p, dw, true);
    }

  private:
    const T* const* samples(const Pass<T>& p) const { return x.is_input ? p.sample_rows : nullptr; }

    // The gradient of inputs [from, to).
    Product<T> product_for_x(const Pass<T>& p, long from, long to) const {
        Product<T> dx{p.samples * x.rows, to - from, y.width, y.gradient, y.ld, 1, p.w + W + from * y.width, 1, y.width,
                      x.gradient + from, x.ld};
        dx.epilogue = slope ? Epilogue::relu_slope : Epilogue::nothing;
        dx.slope_of = x.value + from;
        if (x.slopes && p.training) {
            dx.epilogue = Epilogue::slope;
            dx.slope_of = x.slopes->value + from;
        }
        dx.whole = !x.is_packed();
        dx.pack = p.pack;
        return dx;
    }
    // The gradient of rows [from, to) of W.
    Product<T> product_for_W(const Pass<T>& p, long from, long to, T* gradient) const {
        Product<T> dw{to - from, y.width, p.samples * x.rows, x.value + from, 1, x.ld, y.gradient, y.ld, 1, gradient,
                      y.width};
        dw.whole = false;
        dw.pack = p.pack;
        dw.samples = samples(p);
        dw.a_from = from;
        return dw;
    }

    Range inputs(const Pass<T>& p) const { return p.share(x.width, wants_input ? 2 * WIDTH<T> : 2); }
    void derive_parts(const Pass<T>& p) {
        const Range own = inputs(p);
        const long most = PART / y.width, blocks = (own.count() + most - 1) / most;
        for (long block = 0; block < blocks; ++block) {
            const long from = own.from + own.count() * block / blocks;
            const long to = own.from + own.count() * (block + 1) / blocks;
            Product<T> dw = product_for_W(p, from, to, p.part);
            if (b >= 0 && from == 0) dw.sums = p.g + b;
            product(dw);
            p.sink->take(p.part, W + from * y.width, W + to * y.width, p.t);
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(dense, Dense)
