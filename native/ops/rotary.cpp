// Rotary, as in layers/positions.py: turns the pairs of each row's numbers by angles that depend on its
// position.
//
// Settings: cosines, sines: of each pair's angle, position by position; texts: how many texts are continued
// (see texts.h), if any are: then all rows of a sample are at its position.
#include "../texts.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Rotary : Operation<T> {
    const Value<T>&x, &y;
    List<double> cosines, sines;
    long positions, texts;  // rows of another head follow
    bool wants_input;
    explicit Rotary(const Record<T>& r)
        : x(r.input()), y(r.output()), cosines(r.numbers("cosines")), sines(r.numbers("sines")),
          positions(x.width > 1 ? cosines.count / (x.width / 2) : 0),
          texts(texts_of(r)), wants_input(r.wants()) {
        require(x.rows == y.rows && x.ld == y.ld && x.width % 2 == 0, "pairs are turned in their place");
        require(cosines.count == sines.count && cosines.count == positions * (x.width / 2) && positions > 0 &&
                    (texts || x.rows % positions == 0),
                "each pair has an angle at each position");
    }

    void forward(const Pass<T>& p) override { turn(p, x.value, y.value, 1); }
    void backward(const Pass<T>& p) override {
        if (wants_input) turn(p, y.gradient, x.gradient, -1);
    }

  private:
    void turn(const Pass<T>& p, const T* from, T* to, T sign) const {
        const Range own = p.rows(x);
        for (long row = own.from; row < own.to; ++row) {
            const long at = texts ? position(p, row / x.rows, texts) : row % positions;
            if (at >= positions) return p.report_invalid();
            const double *const cos = cosines.data + at * (x.width / 2), *const sin = sines.data + at * (x.width / 2);
            const T* const in = from + row * x.ld;
            T* const out = to + row * x.ld;
            for (long i = 0; i < x.width / 2; ++i) {
                const T even = in[2 * i], odd = in[2 * i + 1], c = T(cos[i]), s = sign * T(sin[i]);
                out[2 * i] = even * c - odd * s;
                out[2 * i + 1] = even * s + odd * c;
            }
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(rotary, Rotary)
