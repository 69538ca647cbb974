// Expand, as in layers/expand.py: each of some inputs feeds units of its own, z = x W + b
// elementwise.
//
// Settings: on: the input that each row of W belongs to.
#include <cstring>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

// Row c of W and b, of `units` numbers, belongs to input on[c].
template <class T>
void expand(long rows, long count, const int64_t* on, long units, const T* x, long x_ld, const T* w, const T* b, T* y,
            long y_ld) {
    for (long i = 0; i < rows; ++i)
        for (long c = 0; c < count; ++c) {
            const Vec<T> input = broadcast(x[i * x_ld + on[c]]);
            const T *weights = w + c * units, *biases = b + c * units;
            T* to = y + i * y_ld + c * units;
            over<T>(units, [&](long k, auto get, auto put) { put(to + k, get(weights + k) * input + get(biases + k)); });
        }
}

// The gradients of rows [from, to) of W and b, summed sample by sample.
template <class T>
void expand_back(long rows, long from, long to, const int64_t* on, long units, const T* x, long x_ld, const T* dy,
                 long dy_ld, T* dw, T* db) {
    std::memset(dw + from * units, 0, size_t((to - from) * units) * sizeof(T));
    std::memset(db + from * units, 0, size_t((to - from) * units) * sizeof(T));
    for (long i = 0; i < rows; ++i)
        for (long c = from; c < to; ++c) {
            const Vec<T> input = broadcast(x[i * x_ld + on[c]]);
            const T* arriving = dy + i * dy_ld + c * units;
            T *weights = dw + c * units, *biases = db + c * units;
            over<T>(units, [&](long k, auto get, auto put) {
                const Vec<T> delta = get(arriving + k);
                put(weights + k, get(weights + k) + delta * input);
                put(biases + k, get(biases + k) + delta);
            });
        }
}

// dx of an input that is expanded: the sum over its units; 0 of the others.
template <class T>
void expand_input(long rows, long count, const int64_t* on, long units, const T* w, const T* dy, long dy_ld, T* dx,
                  long dx_ld) {
    for (long i = 0; i < rows; ++i) {
        std::memset(dx + i * dx_ld, 0, size_t(dx_ld) * sizeof(T));
        for (long c = 0; c < count; ++c) {
            T total = 0;
            for (long k = 0; k < units; ++k) total += dy[i * dy_ld + c * units + k] * w[c * units + k];
            dx[i * dx_ld + on[c]] = total;
        }
    }
}

template <class T> struct Expand : Operation<T> {
    const Value<T>&x, &y;
    long W, b;
    List<int64_t> on;
    long units;
    bool wants_input;
    explicit Expand(const Record<T>& r)
        : x(r.input()), y(r.output()), W(r.parameter("W", y.width)), b(r.parameter("b", y.width)),
          on(r.whole_numbers("on")), wants_input(r.wants()) {
        bool inside = on.count > 0 && y.width % on.count == 0 && x.rows == y.rows;
        for (long c = 0; c < on.count; ++c) inside = inside && on.data[c] >= 0 && on.data[c] < x.width;
        require(inside, "the expanded inputs must be among the inputs, with equally many units each");
        units = y.width / on.count;
    }

    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x);
        expand(r.count(), on.count, on.data, units, x.value + r.from * x.ld, x.ld, p.w + W, p.w + b,
               y.value + r.from * y.ld, y.ld);
    }
    void backward(const Pass<T>& p) override {
        derive_inputs(p);
        derive_parameters(p);
    }
    void derive_parameters(const Pass<T>& p) {
        const Range c = p.share(on.count, 1);
        expand_back(p.samples * x.rows, c.from, c.to, on.data, units, x.value, x.ld, y.gradient, y.ld, p.g + W,
                    p.g + b);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_W = W <= at && at < W + y.width;
        const long out = at - (of_W ? W : b), in = long(on.data[out / units]);
        for (long row = 0; row < p.samples * x.rows; ++row) {
            const double dy = y.gradient[row * y.ld + out];
            to[row / x.rows] += of_W ? dy * x.value[row * x.ld + in] : dy;
        }
    }
    void derive_inputs(const Pass<T>& p) {
        if (!wants_input) return;
        const Range r = p.rows(x);
        expand_input(r.count(), on.count, on.data, units, p.w + W, y.gradient + r.from * y.ld, y.ld,
                     x.gradient + r.from * x.ld, x.ld);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(expand, Expand)
