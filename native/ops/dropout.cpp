// Dropout, as in layers/dropout.py. ChannelDropout has one mask for all positions of a sample.
//
// Settings: of_channels; key: two words of 64 bits; threshold; keep_scale: 1 / (1 - rate).
#include "../copies.h"
#include "../masks.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Dropout : Operation<T> {
    const Value<T>&x, &y;
    Masks<T> masks;
    bool of_channels, wants_input;
    T* mask;
    explicit Dropout(const Record<T>& r)
        : x(r.input()), y(r.output()), masks(r), of_channels(r.flag("of_channels")), wants_input(r.wants()),
          mask(r.memory(r.max_samples() * x.rows * x.ld)) {
        require(x.rows == y.rows && x.ld == y.ld, "dropout keeps the shape");
    }

    void forward(const Pass<T>& p) override {
        if (p.training && of_channels) {
            const Range own = p.share(p.samples, 1);
            for (long sample = own.from; sample < own.to; ++sample) {
                masks.write(p.step, (p.first + sample) * x.width, x.width, mask + sample * x.ld);
                masked(sample, x.value, y.value);
            }
            return;
        }
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        if (!p.training) return copy(count, x.value + at, y.value + at);
        for (long row = r.from; row < r.to; ++row)
            masks.write(p.step, (p.first * x.rows + row) * x.width, x.width, mask + row * x.ld);
        multiply(count, x.value + at, mask + at, y.value + at);
    }
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        if (p.training && of_channels) {
            const Range own = p.share(p.samples, 1);
            for (long sample = own.from; sample < own.to; ++sample) masked(sample, y.gradient, x.gradient);
            return;
        }
        const Range r = p.rows(x);
        const long at = r.from * x.ld, count = r.count() * x.ld;
        if (p.training) multiply(count, y.gradient + at, mask + at, x.gradient + at);
        else copy(count, y.gradient + at, x.gradient + at);
    }

  private:
    // All positions of a sample times its mask.
    void masked(long sample, const T* from, T* to) const {
        for (long i = sample * x.rows; i < (sample + 1) * x.rows; ++i)
            multiply(x.width, from + i * x.ld, mask + sample * x.ld, to + i * x.ld);
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(dropout, Dropout)
