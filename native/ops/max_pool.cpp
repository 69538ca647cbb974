// The largest input of each window, for each channel on its own, as in layers/pooling.py.
//
// Settings: first, inputs: the positions of output o's window, in row-major order, are those from
// first[o] to first[o + 1].
#include <cstring>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct MaxPool : Operation<T> {
    const Value<T>&x, &y;
    List<int64_t> first, inputs;
    long outputs;  // positions; the values have one row if there is one window, which is the input
    bool wants_input;
    explicit MaxPool(const Record<T>& r)
        : x(r.input()), y(r.output()), first(r.whole_numbers("first")), inputs(r.whole_numbers("inputs")),
          outputs(first.count - 1), wants_input(r.wants()) {
        require(outputs == y.rows && x.width == y.width, "a pooling has a window for each output");
        require(first.data[0] == 0 && first.data[outputs] == inputs.count, "windows must be all inputs in the list");
        for (long o = 0; o < outputs; ++o) require(first.data[o] < first.data[o + 1], "a window has no inputs");
        for (long k = 0; k < inputs.count; ++k)
            require(0 <= inputs.data[k] && inputs.data[k] < x.rows, "a window lies outside of the input");
    }

    long scratch() const override { return y.width; }

    void forward(const Pass<T>& p) override {
        const Range own = p.rows(y);
        for (long row = own.from; row < own.to; ++row) {
            const long o = row % outputs;
            const T* sample = x.value + row / outputs * x.rows * x.ld;
            T* to = y.value + row * y.ld;
            for (long k = first.data[o]; k < first.data[o + 1]; ++k) {
                const T* from = sample + inputs.data[k] * x.ld;
                const bool is_first = k == first.data[o];
                over<T>(y.width, [&](long c, auto get, auto put) {
                    const Vec<T> here = get(from + c), top = is_first ? here : get(to + c);
                    put(to + c, here > top ? here : (here != here ? here : top));  // NaN propagates
                });
            }
        }
    }
    // To the first input that is as large as the output.
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range own = p.share(p.samples, 1);
        T* const left = p.scratch;  // what of dy no input has received
        for (long sample = own.from; sample < own.to; ++sample) {
            std::memset(x.gradient + sample * x.rows * x.ld, 0, size_t(x.rows * x.ld) * sizeof(T));
            for (long o = 0; o < outputs; ++o) {
                const long at = (sample * outputs + o) * y.ld;
                for (long k = first.data[o]; k < first.data[o + 1]; ++k) {
                    const long input = (sample * x.rows + inputs.data[k]) * x.ld;
                    const bool is_first = k == first.data[o];
                    over<T>(y.width, [&](long c, auto get, auto put) {
                        const auto won = get(x.value + input + c) == get(y.value + at + c);
                        const Vec<T> here = is_first ? get(y.gradient + at + c) : get(left + c);
                        put(x.gradient + input + c, get(x.gradient + input + c) + (won ? here : Vec<T>{}));
                        put(left + c, won ? Vec<T>{} : here);
                    });
                }
            }
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(max_pool, MaxPool)
