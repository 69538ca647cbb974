// Adds the same numbers to every sample, such as SinusoidalPositions in layers/positions.py.
//
// Settings: numbers: of a sample, row by row; texts: how many texts are continued (see texts.h),
// if any are: then they are those of each position.
#include "../texts.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Constant : Operation<T> {
    const Value<T>&x, &y;
    List<double> numbers;
    long texts, positions;
    explicit Constant(const Record<T>& r) : x(r.input()), y(r.output()), numbers(r.numbers("numbers")), texts(texts_of(r)),
          positions(numbers.count / (x.rows * x.width)) {
        require(x.rows == y.rows && x.ld == y.ld && numbers.count == positions * x.rows * x.width &&
                    (texts ? positions > 0 : positions == 1),
                "each entry has a number");
    }

    bool shares_gradient() const override { return true; }
    void forward(const Pass<T>& p) override {
        const Range own = p.rows(x);
        for (long row = own.from; row < own.to; ++row) {
            const long at = texts ? position(p, row / x.rows, texts) : 0;
            if (at >= positions) return p.report_invalid();
            const double* const add = numbers.data + (at * x.rows + row % x.rows) * x.width;
            for (long j = 0; j < x.width; ++j) y.value[row * y.ld + j] = x.value[row * x.ld + j] + T(add[j]);
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(constant, Constant)
