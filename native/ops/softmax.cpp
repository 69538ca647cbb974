// Softmax and log-softmax, as in layers/activations.py.
//
// Settings: logarithm: whether it is log-softmax.
#include "../blocks.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

// scratch: room for 2 * width vectors
template <class T>
void softmax(long rows, long width, const T* z, long z_ld, T* a, long a_ld, bool logarithm, T* scratch) {
    constexpr long W = WIDTH<T>;
    T *transposed = scratch, *e = scratch + width * W;
    for (long row = 0; row < rows; row += W) {
        const long here = rows - row < W ? rows - row : W;
        transpose(here, width, z + row * z_ld, z_ld, transposed);
        const Vec<T> sum = exponentials(width, transposed, e), subtract = log_of<T>(sum), times = 1 / sum;
        for (long k = 0; k < width; ++k)
            store(transposed + k * W, logarithm ? load(transposed + k * W) - subtract : load(e + k * W) * times);
        transpose_back(here, width, transposed, a + row * a_ld, a_ld);
    }
}

template <class T> void softmax_back(long rows, long width, const T* a, const T* da, T* dz, long ld, bool logarithm) {
    for (long row = 0; row < rows; ++row, a += ld, da += ld, dz += ld) {
        Vec<T> lanes = {};
        over<T>(width, [&](long k, auto get, auto) {
            lanes += logarithm ? get(da + k) : get(a + k) * get(da + k);
        });
        const Vec<T> sum = broadcast(sum_of<T>(lanes));
        over<T>(width, [&](long k, auto get, auto put) {
            const Vec<T> out = get(a + k), arriving = get(da + k);
            put(dz + k, logarithm ? arriving - exp_of<T>(out) * sum : out * (arriving - sum));
        });
    }
}

template <class T> struct Softmax : Operation<T> {
    const Value<T>&x, &y;
    bool logarithm, wants_input;
    explicit Softmax(const Record<T>& r)
        : x(r.input()), y(r.output()), logarithm(r.flag("logarithm")), wants_input(r.wants()) {
        require(x.rows == y.rows && x.ld == y.ld, "softmax keeps the shape");
    }

    long scratch() const override { return 2 * x.width * MAX_LANES; }
    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x, MAX_LANES);
        softmax(r.count(), x.width, x.value + r.from * x.ld, x.ld, y.value + r.from * y.ld, y.ld, logarithm, p.scratch);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range r = p.rows(x);
        const long at = r.from * x.ld;
        softmax_back(r.count(), x.width, y.value + at, y.gradient + at, x.gradient + at, x.ld, logarithm);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(softmax, Softmax)
