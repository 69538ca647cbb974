// Flatten and Reshape, as in layers/reshape.py: copies each sample's numbers into rows of another
// width.
#include "../copies.h"
#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Reshape : Operation<T> {
    const Value<T>&x, &y;
    bool wants_input;
    explicit Reshape(const Record<T>& r) : x(r.input()), y(r.output()), wants_input(r.wants()) {
        require(x.rows * x.width == y.rows * y.width, "a reshape keeps the number of numbers");
    }

    void forward(const Pass<T>& p) override { move(p, x, x.value, y, y.value); }
    void backward(const Pass<T>& p) override {
        if (wants_input) move(p, y, y.gradient, x, x.gradient);
    }

  private:
    static void move(const Pass<T>& p, const Value<T>& a, const T* from, const Value<T>& b, T* to) {
        const Range r = p.share(p.samples, 1);
        const long total = a.rows * a.width;
        for (long s = r.from; s < r.to; ++s)
            for (long k = 0; k < total;) {
                const long a_left = left(a, total, k), b_left = left(b, total, k);
                const long here = a_left < b_left ? a_left : b_left;
                copy(here, from + (s * a.rows + k / a.width) * a.ld + k % a.width,
                     to + (s * b.rows + k / b.width) * b.ld + k % b.width);
                k += here;
            }
    }
    // How many numbers of a sample follow number k without a gap.
    static long left(const Value<T>& v, long total, long k) { return v.is_packed() ? total - k : v.width - k % v.width; }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(reshape, Reshape)
