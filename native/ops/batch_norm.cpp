// BatchNorm, as in layers/normalization.py: one lane per feature.
//
// `unit` is the normalized input and `inverse` 1 / sqrt(variance + epsilon); backward needs both.
// Settings: momentum, epsilon.
#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
void batch_norm(long rows, long columns, const T* x, T* y, T* unit, long ld, const T* scale, const T* offset,
                T* running_mean, T* running_variance, T* inverse, T momentum, T epsilon, bool training) {
    typedef Vec<T> V;
    over<T>(columns, [&](long j, auto get, auto put) {
        V mean = get(running_mean + j), variance = get(running_variance + j);
        if (training) {
            V sum = {}, squares = {};
            for (long i = 0; i < rows; ++i) sum += get(x + i * ld + j);
            const V batch_mean = sum / T(rows);
            for (long i = 0; i < rows; ++i) {
                const V d = get(x + i * ld + j) - batch_mean;
                squares += d * d;
            }
            const V batch_variance = squares / T(rows);
            const V unbiased = batch_variance * (T(rows) / T(rows > 1 ? rows - 1 : 1));
            put(running_mean + j, mean * momentum + batch_mean * (1 - momentum));
            put(running_variance + j, variance * momentum + unbiased * (1 - momentum));
            mean = batch_mean;
            variance = batch_variance;
        }
        const V by = 1 / sqrt_of(variance + epsilon), times = get(scale + j), plus = get(offset + j);
        put(inverse + j, by);
        for (long i = 0; i < rows; ++i) {
            const V here = (get(x + i * ld + j) - mean) * by;
            put(unit + i * ld + j, here);
            put(y + i * ld + j, times * here + plus);
        }
    });
}

// dx may be null.
template <class T>
void batch_norm_back(long rows, long columns, const T* dy, const T* unit, T* dx, long ld, const T* scale,
                     const T* inverse, T* dscale, T* doffset) {
    typedef Vec<T> V;
    over<T>(columns, [&](long j, auto get, auto put) {
        V sum = {}, products = {};
        for (long i = 0; i < rows; ++i) {
            const V arriving = get(dy + i * ld + j);
            sum += arriving;
            products += arriving * get(unit + i * ld + j);
        }
        put(doffset + j, sum);
        put(dscale + j, products);
        if (!dx) return;
        const V times = get(scale + j) * get(inverse + j), mean = sum / T(rows), along = products / T(rows);
        for (long i = 0; i < rows; ++i)
            put(dx + i * ld + j, times * (get(dy + i * ld + j) - mean - get(unit + i * ld + j) * along));
    });
}

template <class T> struct BatchNorm : Operation<T> {
    const Value<T>&x, &y;
    long scale, offset, mean, variance;
    T momentum, epsilon;
    bool wants_input;
    T *unit, *inverse;
    explicit BatchNorm(const Record<T>& r)
        : x(r.input()), y(r.output()), scale(r.parameter("scale", x.width)), offset(r.parameter("offset", x.width)),
          mean(r.statistic("mean", x.width)), variance(r.statistic("variance", x.width)),
          momentum(T(r.number("momentum"))), epsilon(T(r.number("epsilon"))), wants_input(r.wants()),
          unit(r.memory(r.max_samples() * x.rows * x.ld)), inverse(r.memory(x.width)) {
        require(x.rows == y.rows && x.ld == y.ld, "a normalization keeps the shape");
    }

    void forward(const Pass<T>& p) override {
        const Range c = p.share(x.width, MAX_LANES);
        const long j = c.from;
        batch_norm(p.samples * x.rows, c.count(), x.value + j, y.value + j, unit + j, x.ld, p.w + scale + j,
                   p.w + offset + j, p.statistics + mean + j, p.statistics + variance + j, inverse + j, momentum,
                   epsilon, p.training);
    }
    void backward(const Pass<T>& p) override {
        const Range c = p.share(x.width, MAX_LANES);
        const long j = c.from;
        batch_norm_back(p.samples * x.rows, c.count(), y.gradient + j, unit + j, wants_input ? x.gradient + j : nullptr,
                        x.ld, p.w + scale + j, inverse + j, p.g + scale + j, p.g + offset + j);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(batch_norm, BatchNorm)
