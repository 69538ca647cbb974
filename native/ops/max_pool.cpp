// The largest input of each window, for each channel on its own, as in layers/pooling.py.
//
// Settings: first, inputs: the positions of output o's window, in row-major order, are those from
// first[o] to first[o + 1]; partition: whether each input is in one window.
#include <cstring>

#include "../operation.h"
#include "../vector.h"

namespace chainrule::CHAINRULE_ISA {

template <class T> struct MaxPool : Operation<T> {
    const Value<T>&x, &y;
    List<int64_t> first, inputs;
    long outputs;  // positions; the values have one row if there is one window, which is the input
    bool wants_input, is_partition;
    explicit MaxPool(const Record<T>& r)
        : x(r.input()), y(r.output()), first(r.whole_numbers("first")), inputs(r.whole_numbers("inputs")),
          outputs(first.count - 1), wants_input(r.wants()), is_partition(r.flag("partition")) {
        require(outputs == y.rows && x.width == y.width, "a pooling has a window for each output");
        require(first.data[0] == 0 && first.data[outputs] == inputs.count, "windows must be all inputs in the list");
        for (long o = 0; o < outputs; ++o) require(first.data[o] < first.data[o + 1], "a window has no inputs");
        for (long k = 0; k < inputs.count; ++k)
            require(0 <= inputs.data[k] && inputs.data[k] < x.rows, "a window lies outside of the input");
    }

    void forward(const Pass<T>& p) override {
        const Range own = p.rows(y);
        for (long row = own.from; row < own.to; ++row) {
            const long o = row % outputs;
            const T* sample = x.value + row / outputs * x.rows * x.ld;
            T* to = y.value + row * y.ld;
            over<T>(y.width, [&](long c, auto get, auto put) INLINE_LAMBDA {
                Vec<T> top = get(sample + inputs.data[first.data[o]] * x.ld + c);
                for (long k = first.data[o] + 1; k < first.data[o + 1]; ++k) {
                    const Vec<T> here = get(sample + inputs.data[k] * x.ld + c);
                    top = here > top ? here : (here != here ? here : top);  // NaN propagates
                }
                put(to + c, top);
            });
        }
    }
    // To the first input that is as large as the output.
    void backward(const Pass<T>& p) override {
        if (!wants_input) return;
        const Range own = p.share(p.samples, 1);
        for (long sample = own.from; sample < own.to; ++sample) {
            const T* const values = x.value + sample * x.rows * x.ld;
            T* const to = x.gradient + sample * x.rows * x.ld;
            if (!is_partition) std::memset(to, 0, size_t(x.rows * x.ld) * sizeof(T));
            for (long o = 0; o < outputs; ++o) {
                const long at = (sample * outputs + o) * y.ld;
                over<T>(y.width, [&](long c, auto get, auto put) INLINE_LAMBDA {
                    const Vec<T> top = get(y.value + at + c);
                    Vec<T> left = get(y.gradient + at + c);  // what no input has received
                    for (long k = first.data[o]; k < first.data[o + 1]; ++k) {
                        const long input = inputs.data[k] * x.ld + c;
                        const auto won = get(values + input) == top;
                        const Vec<T> share = won ? left : Vec<T>{};
                        put(to + input, is_partition ? share : get(to + input) + share);
                        left = won ? Vec<T>{} : left;
                    }
                });
            }
        }
    }
};

}  // namespace chainrule::CHAINRULE_ISA

REGISTER_OP(max_pool, MaxPool)
