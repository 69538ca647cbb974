// Adds the same numbers to every sample, such as SinusoidalPositions in layers/positions.py.
//
// Settings: numbers: of a sample, row by row.
#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Constant : Operation<T> {
    const Value<T>&x, &y;
    List<double> numbers;
    explicit Constant(const Record<T>& r) : x(r.input()), y(r.output()), numbers(r.numbers("numbers")) {
        require(x.rows == y.rows && x.ld == y.ld && numbers.count == x.rows * x.width, "each entry has a number");
    }

    bool shares_gradient() const override { return true; }
    bool by_samples() const override { return true; }
    void forward(const Pass<T>& p) override {
        const Range own = p.rows(x);
        for (long row = own.from; row < own.to; ++row) {
            const double* const add = numbers.data + row % x.rows * x.width;
            for (long j = 0; j < x.width; ++j) y.value[row * y.ld + j] = x.value[row * x.ld + j] + T(add[j]);
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(constant, Constant)
