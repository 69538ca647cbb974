// Zeros, as in layers/recurrence.py, whatever the input.
#include <cstring>

#include "../operation.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct Zeros : Operation<T> {
    const Value<T>&x, &y;
    bool wants_input;
    explicit Zeros(const Record<T>& r) : x(r.input()), y(r.output()), wants_input(r.wants()) {}

    void forward(const Pass<T>& p) override { clear(p, y, y.value); }
    void backward(const Pass<T>& p) override {
        if (wants_input) clear(p, x, x.gradient);
    }

  private:
    static void clear(const Pass<T>& p, const Value<T>& v, T* data) {
        const Range own = p.rows(v);
        std::memset(data + own.from * v.ld, 0, size_t(own.count() * v.ld) * sizeof(T));
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(zeros, Zeros)
