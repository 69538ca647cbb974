// LearnedPositions, as in layers/positions.py: adds a row of W to each position.
//
// Settings: length: the rows of W; texts: how many texts are continued (see texts.h), if any are.
#include <cstring>

#include "../copies.h"
#include "../texts.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct LearnedPositions : Operation<T> {
    const Value<T>&x, &y;
    long length, W, texts;
    explicit LearnedPositions(const Record<T>& r)
        : x(r.input()), y(r.output()), length(long(r.number("length"))), W(r.parameter("W", length * x.width)),
          texts(texts_of(r)) {
        require(x.rows == y.rows && x.ld == y.ld && x.rows <= length, "each position has a row of W");
    }

    bool shares_gradient() const override { return true; }
    void forward(const Pass<T>& p) override {
        const Range own = p.rows(x);
        for (long row = own.from; row < own.to; ++row) {
            T* const to = y.value + row * x.ld;
            copy(x.width, x.value + row * x.ld, to);
            const long at = texts ? position(p, row / x.rows, texts) : row % x.rows;
            if (at < length) add(x.width, p.w + W + at * x.width, to);
            else p.report_invalid();
        }
    }
    // Divided by positions: each thread goes through all samples in order.
    void backward(const Pass<T>& p) override {
        const Range own = p.share(length, 1);
        T* const dW = p.g + W;
        std::memset(dW + own.from * x.width, 0, size_t(own.count() * x.width) * sizeof(T));
        for (long sample = 0; sample < p.samples; ++sample)
            for (long row = own.from; row < own.to && row < x.rows; ++row)
                add(x.width, y.gradient + (sample * x.rows + row) * y.ld, dW + row * x.width);
    }
    bool knows_samples() const override { return true; }
    void add_samples(const Pass<T>& p, long at, double* to) const override {
        const long row = (at - W) / x.width, c = (at - W) % x.width;
        for (long sample = 0; row < x.rows && sample < p.samples; ++sample)
            to[sample] += double(y.gradient[(sample * x.rows + row) * y.ld + c]);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(learned_positions, LearnedPositions)
