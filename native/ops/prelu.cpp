// PReLU, as in layers/activations.py: a ReLU with a learned slope for each feature.
#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> void prelu(long rows, long columns, const T* z, const T* alpha, T* a, long ld) {
    over<T>(columns, [&](long j, auto get, auto put) {
        const Vec<T> slope = get(alpha + j);
        for (long i = 0; i < rows; ++i) {
            const Vec<T> here = get(z + i * ld + j);
            put(a + i * ld + j, here > T(0) ? here : here * slope);
        }
    });
}

// dz may be null.
template <class T>
void prelu_back(long rows, long columns, const T* z, const T* alpha, const T* da, T* dz, T* dalpha, long ld) {
    over<T>(columns, [&](long j, auto get, auto put) {
        const Vec<T> slope = get(alpha + j);
        Vec<T> total = {};
        for (long i = 0; i < rows; ++i) {
            const Vec<T> here = get(z + i * ld + j), arriving = get(da + i * ld + j);
            total += arriving * (here < T(0) ? here : Vec<T>{});
            if (dz) put(dz + i * ld + j, here > T(0) ? arriving : arriving * slope);
        }
        put(dalpha + j, total);
    });
}

template <class T> struct PReLU : Operation<T> {
    const Value<T>&x, &y;
    long alpha;
    bool wants_input;
    explicit PReLU(const Record<T>& r)
        : x(r.input()), y(r.output()), alpha(r.parameter("alpha", x.width)), wants_input(r.wants()) {
        require(x.rows == y.rows && x.ld == y.ld, "PReLU keeps the shape");
    }

    void forward(const Pass<T>& p) override {
        const Range c = p.share(x.width, MAX_LANES);
        prelu(p.samples * x.rows, c.count(), x.value + c.from, p.w + alpha + c.from, y.value + c.from, x.ld);
    }
    void backward(const Pass<T>& p) override {
        const Range c = p.share(x.width, MAX_LANES);
        prelu_back(p.samples * x.rows, c.count(), x.value + c.from, p.w + alpha + c.from, y.gradient + c.from,
                   wants_input ? x.gradient + c.from : nullptr, p.g + alpha + c.from, x.ld);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        for (long row = 0; row < p.samples * x.rows; ++row) {
            const double here = x.value[row * x.ld + at - alpha];
            if (here < 0) to[row / x.rows] += here * y.gradient[row * y.ld + at - alpha];
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(prelu, PReLU)
