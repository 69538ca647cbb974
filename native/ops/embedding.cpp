// Embedding, as in layers/embedding.py: looks up rows of W by index. Backward goes sample by sample,
// so the gradients of a row are added in order.
//
// Settings: count: the number of W's rows; accumulates: whether another layer's use of W has written its
// gradient before.
#include <cstring>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

// Each row of x has `per_row` indices, and y has a row for each; only columns [0, units) of W and
// y are copied. False if an index is out of range or not a whole number.
template <class T>
bool embedding(long rows, long first, long units, long count, const T* x, long x_ld, long per_row, const T* w,
               long w_ld, T* y, long y_ld) {
    bool valid = true;
    for (long i = first; i < first + rows; ++i)
        for (long k = 0; k < per_row; ++k) {
            const T index = x[i * x_ld + k];
            const bool is_row = index >= 0 && index < T(count) && index == T(long(index));
            valid &= is_row;
            std::memcpy(y + (i * per_row + k) * y_ld, w + (is_row ? long(index) : 0) * w_ld, units * sizeof(T));
        }
    return valid;
}

template <class T>
void embedding_back(long rows, long first, long units, const T* x, long x_ld, long per_row, const T* dy, long dy_ld,
                    T* dw, long w_ld) {
    for (long i = first; i < first + rows; ++i)
        for (long k = 0; k < per_row; ++k) {
            T* to = dw + long(x[i * x_ld + k]) * w_ld;
            const T* from = dy + (i * per_row + k) * dy_ld;
            over<T>(units, [&](long j, auto get, auto put) { put(to + j, get(to + j) + get(from + j)); });
        }
}

template <class T> struct Embedding : Operation<T> {
    const Value<T>&x, &y;
    long count, W;
    bool wants_input, accumulates;
    explicit Embedding(const Record<T>& r)
        : x(r.input()), y(r.output()), count(long(r.number("count"))), W(r.parameter("W", count * y.width)),
          wants_input(r.wants()), accumulates(r.flag("accumulates")) {
        require(y.rows == x.rows * x.width, "an Embedding has a row of outputs for each index");
    }

    // What another use of W has written has to be complete.
    void forward(const Pass<T>& p) override {
        const Range r = p.rows(x);
        if (!embedding(r.count(), r.from, y.width, count, x.value, x.ld, x.width, p.w + W, y.width, y.value, y.ld))
            p.report_invalid();
    }
    void backward(const Pass<T>& p) override {
        derive_inputs(p);
        derive_parameters(p);
    }
    void derive_parameters(const Pass<T>& p) {
        const Range c = p.share(y.width, MAX_LANES);
        for (long row = 0; !accumulates && row < count; ++row)
            std::memset(p.g + W + row * y.width + c.from, 0, size_t(c.count()) * sizeof(T));
        embedding_back(p.samples * x.rows, 0, c.count(), x.value, x.ld, x.width, y.gradient + c.from, y.ld,
                       p.g + W + c.from, y.width);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const long row = (at - W) / y.width, c = (at - W) % y.width;
        for (long i = 0; i < p.samples * y.rows; ++i)
            if (long(x.value[i / x.width * x.ld + i % x.width]) == row) to[i / y.rows] += double(y.gradient[i * y.ld + c]);
    }
    void derive_inputs(const Pass<T>& p) {
        if (!wants_input) return;
        const Range r = p.rows(x);
        std::memset(x.gradient + r.from * x.ld, 0, size_t(r.count() * x.ld) * sizeof(T));
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(embedding, Embedding)
