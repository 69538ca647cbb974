// LayerNorm and, without an offset, RMSNorm, which does not subtract the mean, as in
// layers/normalization.py: row by row.
//
// `unit` is the normalized input and `inverse` 1 / sqrt(variance + epsilon); backward needs both.
// Settings: epsilon.
#include <cmath>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T>
void layer_norm(long rows, long columns, const T* x, T* y, T* unit, T* inverse, long ld, const T* scale,
                const T* offset, T epsilon) {
    typedef Vec<T> V;
    for (long i = 0; i < rows; ++i, x += ld, y += ld, unit += ld) {
        V sums = {}, squares = {};
        if (offset) over<T>(columns, [&](long k, auto get, auto) { sums += get(x + k); });
        const T mean = sum_of<T>(sums) / T(columns);
        long k = 0;
        for (; k + WIDTH<T> <= columns; k += WIDTH<T>) {
            const V d = load(x + k) - mean;
            squares += d * d;
        }
        T variance = sum_of<T>(squares);
        for (; k < columns; ++k) variance += (x[k] - mean) * (x[k] - mean);
        const T by = 1 / std::sqrt(variance / T(columns) + epsilon);
        inverse[i] = by;
        over<T>(columns, [&](long k, auto get, auto put) {
            const V here = (get(x + k) - mean) * by;
            put(unit + k, here);
            put(y + k, offset ? get(scale + k) * here + get(offset + k) : get(scale + k) * here);
        });
    }
}

template <class T>
void layer_norm_back(long rows, long columns, const T* dy, const T* unit, const T* inverse, T* dx, long ld,
                     const T* scale, bool centred) {
    typedef Vec<T> V;
    for (long i = 0; i < rows; ++i, dy += ld, unit += ld, dx += ld) {
        V sums = {}, products = {};
        over<T>(columns, [&](long k, auto get, auto) {
            const V arriving = get(dy + k) * get(scale + k);
            sums += arriving;
            products += arriving * get(unit + k);
        });
        const T mean = centred ? sum_of<T>(sums) / T(columns) : T(0), along = sum_of<T>(products) / T(columns);
        over<T>(columns, [&](long k, auto get, auto put) {
            put(dx + k, (get(dy + k) * get(scale + k) - mean - get(unit + k) * along) * inverse[i]);
        });
    }
}

// Column sums of x, or of x * y (elementwise) if y is not null.
template <class T> void column_sums(long rows, long columns, const T* x, const T* y, long ld, T* sums) {
    for (long j = 0; j < columns; j += WIDTH<T>) {
        Vec<T> total = {};
        for (long i = 0; i < rows; ++i) {
            const Vec<T> here = load(x + i * ld + j);
            total += y ? here * load(y + i * ld + j) : here;
        }
        const long left = columns - j;
        if (left >= WIDTH<T>) store(sums + j, total);
        else store_part(sums + j, total, left);
    }
}

template <class T> struct LayerNorm : Operation<T> {
    const Value<T>&x, &y;
    long scale, offset;  // offset < 0: RMSNorm
    T epsilon;
    bool wants_input;
    T *unit, *inverse;
    explicit LayerNorm(const Record<T>& r)
        : x(r.input()), y(r.output()), scale(r.parameter("scale", x.width)), offset(r.has_parameter("offset") ? r.parameter("offset", x.width) : -1),
          epsilon(T(r.number("epsilon"))), wants_input(r.wants()),
          unit(r.memory(r.max_samples() * x.rows * x.ld)), inverse(r.memory(r.max_samples() * x.rows)) {
        require(x.rows == y.rows && x.ld == y.ld, "a normalization keeps the shape");
    }

    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x);
        const long at = r.from * x.ld;
        layer_norm(r.count(), x.width, x.value + at, y.value + at, unit + at, inverse + r.from, x.ld, p.w + scale,
                   offset < 0 ? nullptr : p.w + offset, epsilon);
    }
    void backward(const Pass<T>& p) override {
        derive_inputs(p);
        derive_parameters(p);
    }
    void derive_parameters(const Pass<T>& p) {
        const Range c = p.share(x.width, MAX_LANES);
        const long rows = p.samples * x.rows, j = c.from;
        column_sums<T>(rows, c.count(), y.gradient + j, unit + j, x.ld, p.g + scale + j);
        if (offset >= 0) column_sums<T>(rows, c.count(), y.gradient + j, nullptr, x.ld, p.g + offset + j);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const bool of_scale = scale <= at && at < scale + x.width;
        const long c = at - (of_scale ? scale : offset);
        for (long row = 0; row < p.samples * x.rows; ++row) {
            const double dy = y.gradient[row * y.ld + c];
            to[row / x.rows] += of_scale ? dy * unit[row * x.ld + c] : dy;
        }
    }
    void derive_inputs(const Pass<T>& p) {
        if (!wants_input) return;
        const Range r = p.rows(x);
        const long at = r.from * x.ld;
        layer_norm_back(r.count(), x.width, y.gradient + at, unit + at, inverse + r.from, x.gradient + at, x.ld,
                        p.w + scale, offset >= 0);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(layer_norm, LayerNorm)
